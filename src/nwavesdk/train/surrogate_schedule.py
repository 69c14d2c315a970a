"""The choice of how a parameter of the surrogate moves over a run."""

import ast
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["SurrogateScheduleConfig"]


class SurrogateScheduleConfig(BaseModel):
    """How a parameter of the surrogate moves, as `nwavesdk.optim.SurrogateAnnealing` has it.

    It is read from a text too: `"exponential(slope, 5, 25)"`, `"plateau(slope, 5, 25, patience=3, stages=5)"`.

    Attributes:
        form: `"linear"`, `"exponential"`, `"cosine"`, or `"plateau"`, which goes by the validation loss.
        parameter: Its name.
        start: Its value in the first epoch.
        end: Its value in the last.
        patience: Epochs without gain that make a plateau.
        stages: Plateaus until `end`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    form: Literal["linear", "exponential", "cosine", "plateau"]
    parameter: str
    start: Annotated[float, Field(allow_inf_nan=False)]
    end: Annotated[float, Field(allow_inf_nan=False)]
    patience: Annotated[int, Field(ge=1)] = 3
    stages: Annotated[int, Field(ge=1)] = 5

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        try:
            call = ast.parse(given.strip(), mode="eval").body
            given_names = [node.id for node in (call.func, call.args[0])]  # type: ignore[attr-defined]  # another node is caught
            start, end = map(ast.literal_eval, call.args[1:])  # type: ignore[attr-defined]  # another node is caught
            options = {str(key.arg): ast.literal_eval(key.value) for key in call.keywords}  # type: ignore[attr-defined]  # another node is caught
        except (SyntaxError, AttributeError, IndexError, ValueError, TypeError):
            raise ValueError("expected a form with parameter, start and end, as in exponential(slope, 5, 25)") from None
        return {"form": given_names[0], "parameter": given_names[1], "start": start, "end": end, **options}
