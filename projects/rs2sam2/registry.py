"""The scope `rs2sam2`: what mmengine asks for where a config inherits from `rs2sam2::...`.

Everything is registered in mmseg's registries. mmengine builds the parts of an inherited config in the scope that their
file came from; these registries hold nothing and pass every name on to mmseg's, so that `rs2sam2.SAM2Hiera` is found,
and a part of mmseg's that replaces one of ours too.
"""

from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry
from mmseg import registry

SCOPE = 'rs2sam2'

for name in registry.__all__:
    parent = getattr(registry, name)
    Registry(parent.name, scope=SCOPE, parent=parent, locations=['rs2sam2.registration'])

# The name of the import and of the distribution: without it mmengine reads no config from a package.
MODULE2PACKAGE[SCOPE] = 'rs2sam2'
