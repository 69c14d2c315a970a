"""
# 13. Search hyper-parameters

You will write the file of a search, check it without running anything, start the search by one
command, and read its result with the library. The search needs the extra `hpo`:
`pip install '.[train,hpo]'`, in a clone. This page shows the command and does not run it.
"""

# %%
# ## The file
#
# `[run]` has the choices that all trials share, `[search]` says how to search, and `[space]` names
# the fields that vary. What is left out has the default of `nwave train`.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

from nwavesdk.analysis.study import RunSearch, TuneConfig
from nwavesdk.train import load

content = """
[run]
data.source = "digits"
net.name = "lif"
net.hidden = [64]
learning.epochs = 9

[search]
trials = 12
scheduler = "asha"
grace = 2
reduction = 3

[space]
"learning.rate" = { low = 1e-3, high = 3e-2, log = true }
"learning.batch_size" = { low = 16, high = 128, step = 16 }
"net.surrogate" = { choices = ["atan(alpha=2)", "fast_sigmoid(slope=25)"] }
"""

# %%
# ## Check it
#
# The command checks a file before the first trial. So does `TuneConfig.read`, and an error names
# the field. The seed cannot vary, for example, because the search would choose a lucky one.

with tempfile.TemporaryDirectory() as temporary:
    file = Path(temporary) / "search.toml"
    file.write_text(content)
    config = TuneConfig.read(file)
    file.write_text(content + "seed = { choices = [0, 1] }\n")
    try:
        TuneConfig.read(file)
    except ValueError as error:
        print(str(error).replace(temporary, ""))
print(f"{config.search.trials} trials vary:", ", ".join(config.space))

# %%
# ## What it costs
#
# With `"asha"`, trials are compared early, and about one of `reduction` trials continues. The next
# comparison comes after `reduction` times the epochs.

settings, epochs = config.search, config.run["learning"]["epochs"]
running, comparison, course = settings.trials, settings.grace, []
for epoch in range(1, epochs + 1):
    course.append(running)
    if epoch == comparison:
        running, comparison = round(running / settings.reduction), comparison * settings.reduction
print(f"about {sum(course)} epochs in place of {settings.trials * epochs}")

figure, axes = plt.subplots(figsize=(6, 2.5), layout="constrained")
axes.bar(range(1, epochs + 1), course)
axes.set(xlabel="epoch", ylabel="trials that run it")

# %%
# The learning rate rises at first, so early epochs say little about the end. Raise `grace` if good
# trials are stopped.
#
# ## Run it
#
# ```sh
# nwave tune search.toml --out runs/search
# nwave tune search.toml --out runs/search --ray head:6379   # on a Ray cluster
# ```
#
# Optuna proposes the trials, which run side by side. They are compared on the validation set. The
# test set is read once, by the best trial. After a kill, the same command continues.
#
# ## Read the result
#
# Each trial is an ordinary run.

folder = Path("runs/search")
if folder.exists():
    search = RunSearch.open(folder, TuneConfig.read(folder / "tune.json"))
    best = search.best_cell
    print(best.name, best.values, " ".join(search.headline))
    print(load(best.path).net)

    figure, axes = plt.subplots(figsize=(6, 2.5), layout="constrained")
    for cell in search.cells:
        scores = [row["val_accuracy"] for row in cell.metrics()]
        color = "tab:blue" if cell == best else "lightgray"
        axes.plot(range(1, len(scores) + 1), scores, ".-", color=color)
    axes.set(xlabel="epoch", ylabel="validation accuracy")
else:
    print("runs/search does not exist here: run the command first.")

# %%
# `runs/search/report.html` has more pictures. [Search](../../search.md) describes the file, what is
# guaranteed, and `HPOWrapper`, which searches the config of a net of your own loop.
#
# **Exercise.** What would `grace = 1` and `reduction = 4` cost? (12 trials for one epoch, 3 for
# three, 1 for five: 26 epochs. But nine trials are stopped after a single epoch.)
