"""From a name, a folder or a repository of the Hugging Face Hub to weights, and back to the Hub."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from facehall_env.enhancer import ENHANCER, LocalEnhancementNetwork
from facehall_env.pretrained.folder import CARD, CONFIG, FILES, PretrainedWeights, read_weights
from facehall_env.pretrained.registry import available_weights, listed

Name = str | Path | PretrainedWeights
"""What stands for weights; see `get_weights`."""


def get_weights(
    name: Name,
    *,
    revision: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    cache_dir: str | Path | None = None,
) -> PretrainedWeights:
    """Find weights by name, or fetch them.

    Args:
        name: The name of weights that come with the package or lie where ``FACEHALL_WEIGHTS`` says; else a
            folder of weights; else the id of a repository on the Hugging Face Hub, ``"owner/name"``, from
            which only the files of a weights folder are fetched (no code, nothing pickled).
        revision: Branch, tag or commit of the repository.
        token: For private repositories, where ``hf auth login`` has not left one.
        endpoint: Address of the Hub; None: ``HF_ENDPOINT`` or huggingface.co.
        cache_dir: Where fetched files are kept; None: the Hub's own cache.

    Raises:
        FileNotFoundError: If the name stands for nothing, or what it stands for has no ``config.json``.
        ImportError: If it is a repository's and huggingface_hub is not installed.
        ValueError: If the folder or repository holds something else than such weights, or a revision is asked
            for of what lies here.
    """
    if isinstance(name, PretrainedWeights):
        return name
    there = available_weights()
    here = isinstance(name, str) and name in there
    if revision is not None and (here or Path(name).is_dir()):
        raise ValueError(f"revision is {revision!r}, but {str(name)!r} lies here and has none: leave it out")
    if here:
        return there[str(name)]
    if Path(name).is_dir():
        return read_weights(name)
    if isinstance(name, Path) or not _is_repository(name):
        raise FileNotFoundError(
            f"there are no weights {str(name)!r}: it is neither the name of available ones ({listed()}), nor "
            "a folder, nor the id of a repository, owner/name"
        )
    try:
        hub = _hub("fetch weights from")
    except ImportError as error:
        raise ImportError(f"there is no folder {name!r}; if it is a repository: {error}") from error
    try:
        fetched = hub.snapshot_download(
            name,
            revision=revision,
            token=token,
            endpoint=endpoint,
            cache_dir=cache_dir,
            allow_patterns=list(FILES),
        )
    except Exception as error:  # what the Hub says is an OSError, but its transport has errors of its own
        said = " ".join(str(error).split())
        raise FileNotFoundError(
            f"there is no folder {name!r}, and from the Hub it cannot be fetched as a repository: {said}"
        ) from error
    return read_weights(fetched, name)


def load_pretrained_enhancer(name: Name) -> LocalEnhancementNetwork:
    """The trained enhancer alone, in float32, in the mode for acting.

    ``env.unwrapped.set_enhancer(load_pretrained_enhancer("lfw-x8"))`` enhances with it.

    Args:
        name: As for `get_weights`, or what that gave.

    Raises:
        FileNotFoundError, ImportError, ValueError: As `get_weights`.
    """
    return get_weights(name).enhancer()


def push_to_hub(
    name: Name,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    commit_message: str = "Upload facehall weights",
) -> str:
    """Put a folder of weights, with its model card, into a repository of the Hugging Face Hub.

    Nothing but the files of a weights folder is sent, whatever else lies in it.

    Args:
        name: As for `get_weights`: a name or a folder.
        repo_id: ``"owner/name"``; made if it is not there.
        private: Make it private, if it is made.
        revision: The branch; it must be there already.
        token: Where ``hf auth login`` has not left one.
        endpoint: Address of the Hub; None: ``HF_ENDPOINT`` or huggingface.co.
        commit_message: Of the upload.

    Returns:
        The address of the commit.

    Raises:
        FileNotFoundError: If there are no such weights, or a file of the folder is missing.
        ImportError: If huggingface_hub is not installed.
        ValueError: If `repo_id` is no such id.
    """
    weights = get_weights(name, token=token, endpoint=endpoint)
    if not _is_repository(repo_id):
        raise ValueError(f"repo_id is {repo_id!r}, but it must be owner/name")
    if missing := [file for file in (CONFIG, ENHANCER, CARD) if not (weights.folder / file).is_file()]:
        raise FileNotFoundError(f"{weights.folder} lacks {', '.join(missing)}, so nothing was uploaded")
    api = _hub("upload weights to").HfApi(endpoint=endpoint, token=token)
    api.create_repo(repo_id, private=private, exist_ok=True)
    commit = api.upload_folder(
        repo_id=repo_id,
        folder_path=weights.folder,
        allow_patterns=list(FILES),
        revision=revision,
        commit_message=commit_message,
    )
    return str(commit.commit_url)


def _is_repository(name: str) -> bool:
    """Whether a word has the form owner/name."""
    parts = name.split("/")
    return len(parts) == 2 and all(part and part.strip(".") and not part.isspace() for part in parts)


def _hub(what: str) -> ModuleType:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            f"to {what} the Hugging Face Hub, install huggingface_hub: pip install 'facehall[hub]'"
        ) from error
    return huggingface_hub
