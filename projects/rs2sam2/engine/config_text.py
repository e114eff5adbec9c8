"""A config's text, laid out once."""

from mmengine.config import Config


class OnceFormattedConfig(Config):
    """A config that lays out its text once for each content.

    mmengine asks for the text in the log, in the work dir and in every checkpoint, and yapf takes up to seconds for it.
    """

    @classmethod
    def of(cls, cfg: Config) -> 'OnceFormattedConfig':
        """The same config, deeply copied, as one that remembers its text."""
        own = cls.__new__(cls)
        own.__setstate__(cfg.__deepcopy__({}).__getstate__())
        return own

    @property
    def pretty_text(self) -> str:
        """Formatted Python text of the config."""
        content = repr(self._cfg_dict)
        known = self.__dict__.get('_laid_out')
        if known is None or known[0] != content:
            known = (content, super().pretty_text)
            self.__dict__['_laid_out'] = known
        return known[1]
