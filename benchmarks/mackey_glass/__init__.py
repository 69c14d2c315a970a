"""NeuroBench's task of chaotic prediction: a spiking net of ours next to its two baselines.

    python -m benchmarks.mackey_glass              # train, measure with the harness, store, print
    python -m benchmarks.mackey_glass --check      # our series against the integrator jitcdde

    series       the Mackey-Glass series of the task, integrated on the spot
    forecasters  a spiking net, and the LSTM and the echo state network of NeuroBench

All models get the same series: 10 Lyapunov times of 75 points to learn the next point, then 10
to continue on their own. The score is the harness's sMAPE.
"""
