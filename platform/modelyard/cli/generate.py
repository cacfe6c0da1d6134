"""`modelyard generate MODEL -p PROMPT`: a prompt in, n continuations out."""

from __future__ import annotations

import os
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli.output import Format, OutputOption, YardOption, emit, is_terminal

if TYPE_CHECKING:
    from modelyard.infer import Completion, Model, SamplingParams

MAX_TOKENS = 64


def generate(
    model: Annotated[str, typer.Argument(help="registry://NAME@ALIAS (or NAME@ALIAS), or a model's folder.")],
    *,
    prompt: Annotated[
        list[str] | None, typer.Option("-p", "--prompt", help="A prompt; may be repeated; - reads standard input.")
    ] = None,
    n: Annotated[int, typer.Option("-n", help="Continuations of each prompt.")] = 1,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", help=f"Longest continuation: {MAX_TOKENS}, or what fits, unless told.")
    ] = None,
    temperature: Annotated[float, typer.Option("--temperature", help="0 always takes the likeliest token.")] = 0.8,
    top_p: Annotated[float, typer.Option("--top-p", help="Draw from the likeliest tokens up to this share.")] = 1.0,
    top_k: Annotated[int, typer.Option("--top-k", help="Draw from this many likeliest tokens; 0: from all.")] = 0,
    seed: Annotated[int | None, typer.Option("--seed", help="The same seed gives the same text.")] = None,
    stop: Annotated[list[str] | None, typer.Option("--stop", help="End before this text; may be repeated.")] = None,
    echo: Annotated[bool, typer.Option("--echo", help="Print the prompt too.")] = False,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    yard: YardOption = None,
    output: OutputOption = Format.table,
) -> None:
    """Continue a prompt with a model of the registry or of a folder."""
    prompts = [_prompt(text) for text in prompt or ["-"]]
    _quiet()
    from modelyard.infer import SamplingParams, open_model

    _check_device(device)
    params = SamplingParams(
        max_tokens=MAX_TOKENS if max_tokens is None else max_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        seed=seed,
        stop=tuple(stop or ()),
        echo=echo,
        n=n,
    )
    name, folder = _find(model, yard)
    opened = open_model(folder, device=device)
    if max_tokens is None:
        params = _fitted(opened, prompts, params)
    if output is Format.table and is_terminal() and n == 1 and len(prompts) == 1:
        for event in opened.stream(prompts[0], params):
            typer.echo(_harmless(event.text), nl=False)
        typer.echo()
        return
    completions = opened.generate(prompts, params)
    emit([_row(name, completion) for completion in completions], output, table=_text(completions))


def _harmless(text: str) -> str:
    """Without control characters, which would steer the reader's terminal."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cf"} else "\ufffd" for c in text)


def _prompt(text: str) -> str:
    from modelyard.errors import UsageError

    if text != "-":
        return text
    if sys.stdin.isatty():
        raise UsageError("there is no prompt", hint="give one with -p 'Once upon a time', or pipe it in")
    try:
        return sys.stdin.buffer.read().decode("utf-8").removesuffix("\n")  # echo's and the editor's last line end
    except UnicodeDecodeError as error:
        raise UsageError(f"standard input is not UTF-8: {error}") from error


def _quiet() -> None:
    """transformers and what it imports beside it must not talk over the answer."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed, where installed, warns that it found no GPU


def _check_device(device: str) -> None:
    from modelyard.errors import UsageError

    kind, _, number = device.partition(":")
    if kind not in {"cpu", "cuda"} or (number and not number.isdigit()):
        raise UsageError(f"--device is {device!r}", hint="write cpu, cuda or cuda:0")
    if kind == "cuda":
        import torch

        if int(number or 0) >= torch.cuda.device_count():
            raise UsageError(f"--device is {device}, but PyTorch sees {torch.cuda.device_count()} CUDA devices here")


def _find(model: str, yard: str | None) -> tuple[str, Path]:
    """(name, folder) of a model; a registered one is verified first."""
    from modelyard.cli.places import the_yard
    from modelyard.errors import InvalidInputError, NotFoundError
    from modelyard.registry import names_folder, open_registry

    if model.startswith("hf://"):
        raise InvalidInputError(
            f"{model}: reading from the Hugging Face hub is not built yet",
            hint="download the model's folder and name it by its path",
        )
    if names_folder(model, root=Path()):
        if not Path(model).is_dir():
            raise NotFoundError(f"there is no folder {model}", hint="`modelyard models` lists what is registered")
        return model, Path(model)
    registry = open_registry(the_yard(yard))
    version = registry.resolve(model)
    registry.verify(version)
    return version.label, version.folder


def _fitted(model: Model, prompts: list[str], params: SamplingParams) -> SamplingParams:
    """The default length, cut to what the longest prompt leaves of the context."""
    longest = max(len(model.encode_prompt(text)) for text in prompts)
    return replace(params, max_tokens=max(1, min(params.max_tokens, model.max_length - longest)))


def _row(model: str, completion: Completion) -> dict[str, Any]:
    return {
        "model": model,
        "prompt": completion.prompt,
        "choice": completion.choice,
        "text": completion.text,
        "finishReason": completion.finish_reason,
        "promptTokens": completion.prompt_tokens,
        "completionTokens": len(completion.token_ids),
    }


def _text(completions: list[Completion]) -> str:
    """For people: the text alone, or numbered when there are several."""
    if is_terminal():
        completions = [replace(completion, text=_harmless(completion.text)) for completion in completions]
    if len(completions) == 1:
        return completions[0].text
    return "\n\n".join(f"[{number}] {completion.text}" for number, completion in enumerate(completions, start=1))
