"""Loading and saving of the composed model: the library's own, but strict, and able to leave the core out."""

import copy
from pathlib import Path

from safetensors import SafetensorError
from transformers import GenerationConfig, PreTrainedModel

from .checkpoint import read_part, read_weights, refuse_incomplete, split_off_sources, weights_folder


class ComposedPreTrainedModel(PreTrainedModel):
    """A model with parts that others made, as its configuration's `sources` tell, and its `freeze` freezes."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path | None, *args, **kwargs):
        """`PreTrainedModel.from_pretrained`, of safetensors files only, and strict.

        What a folder of adapters leaves out is read where its configuration says; a hub id there is
        downloaded like any other, unless local_files_only.

        Raises ValueError if a weight is missing, unexpected, or of another shape (this last not with
        ignore_mismatched_sizes), a file is none of safetensors' format, or a part that was left out cannot be had.
        """
        where, wants_info = pretrained_model_name_or_path, kwargs.pop("output_loading_info", False)
        any_shape = kwargs.get("ignore_mismatched_sizes", False)
        # the library's own error for a shape does not say which weight
        kwargs |= {"use_safetensors": True, "output_loading_info": True, "ignore_mismatched_sizes": True}
        whole = cls._joined_with_sources(str(where), kwargs) if where is not None else {}
        try:
            model, info = super().from_pretrained(None if whole else where, *args, **(kwargs | whole))
        except (OSError, SafetensorError):
            if where is not None and Path(where).is_dir():
                read_weights(Path(where) / kwargs.get("subfolder", ""))  # its error says what is wrong there
            raise
        mismatched = set() if any_shape else info["mismatched_keys"]
        refuse_incomplete(str(where), info["missing_keys"], info["unexpected_keys"], mismatched)
        model.freeze()  # the library makes every weight that it loads take a gradient
        if where is not None:
            model.name_or_path = model.config.name_or_path = str(where)
        return (model, info) if wants_info else model

    @classmethod
    def _joined_with_sources(cls, where: str, kwargs: dict) -> dict:
        """For a folder of adapters the keywords that stand for the whole model, for any other none."""
        hub = {name: kwargs[name] for name in ("local_files_only", "token", "cache_dir") if name in kwargs}
        at = {name: kwargs[name] for name in ("revision", "subfolder") if name in kwargs}
        config = kwargs.get("config")
        if not isinstance(config, cls.config_class):
            config = cls.config_class.from_pretrained(config or where, **hub, **at)
        if not config.left_out:
            return {}
        folder = weights_folder(where, at.get("revision"), **hub) / at.get("subfolder", "")
        weights = read_weights(folder)
        for part in config.left_out:
            weights |= read_part(part, config.sources[part], **hub)
        config = copy.deepcopy(config)
        config.left_out = []
        generation_config = kwargs.get("generation_config") or GenerationConfig.from_pretrained(folder)
        return {"config": config, "state_dict": weights, "generation_config": generation_config}

    def save_pretrained(self, save_directory: str | Path, *args, adapters_only: bool = False, **kwargs) -> None:
        """`PreTrainedModel.save_pretrained`. adapters_only: write what was trained, name the rest.

        The rest are the parts in config.sources that still equal their source to the bit; the folder
        names them by id, revision and fingerprint, and `from_pretrained` fetches them.

        Raises ValueError, with adapters_only, if the core has no source, is another than its source,
        or a source cannot be read.
        """
        if not adapters_only:
            return super().save_pretrained(save_directory, *args, **kwargs)
        weights = kwargs.pop("state_dict", None) or self.state_dict()
        kept, sources, left_out = split_off_sources(weights, self.config.sources or {}, set(self.all_tied_weights_keys))
        whole, self.config = self.config, copy.deepcopy(self.config)
        self.config.sources, self.config.left_out = sources, left_out
        try:
            return super().save_pretrained(save_directory, *args, state_dict=kept, **kwargs)
        finally:
            self.config = whole
