"""RS2-SAM2: referring remote-sensing image segmentation as an mmsegmentation extension.

Importing registers the components in mmseg's registries and does nothing else.
"""

from rs2sam2 import registration

__all__ = ['__version__', 'registration']
__version__ = '0.1.0'
