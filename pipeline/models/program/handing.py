"""Our images in the place of files: what MONAI's ``LoadImaged`` would have read.

A volume is handed out as ``NibabelReader`` gives a NIfTI file of it (axes x, y, z = columns, rows,
slices; affine in RAS, mm), an image as ``PILReader`` gives a PNG file of it (axes width, height,
then colours).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final

import nibabel as nib
import numpy as np
from monai.data.image_reader import NibabelReader, PILReader
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform
from monai.transforms.utility.array import EnsureChannelFirst
from monai.utils.misc import ensure_tuple, ensure_tuple_rep
from monai.utils.type_conversion import convert_to_dst_type
from numpy.typing import NDArray
from PIL import Image as Picture

from pipeline.config.refusal import ConfigRefused
from pipeline.volume import Channels, Image, Input, Volume

_LPS_TO_RAS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
#: index (x, y, z) = (column, row, slice) to index (slice, row, column)
_XYZ: Final = np.eye(4)[[2, 1, 0, 3]]
#: ground truth, by the names that configurations use: there is none at inference
_TRUTH: Final = frozenset({"label", "labels", "seg", "mask"})


def ras_affine(volume: Volume) -> NDArray[np.float64]:
    """Return the affine (4, 4) from (x, y, z) = (column, row, slice) to RAS in mm."""
    return np.asarray(_LPS_TO_RAS @ volume.affine @ _XYZ)


def parts(image: Input | Channels) -> tuple[Mapping[str, Any], ...]:
    """Return what is run one after the other, each as files by name: a volume, or every frame."""
    if isinstance(image, Image):
        return tuple({"frame": frame} for frame in image.pixels)
    volumes = image.volumes if isinstance(image, Channels) else (image,)
    return ({f"series-{number}": volume for number, volume in enumerate(volumes)},)


class Handing:
    """Makes the transforms that take the place of ``LoadImaged`` and keeps their keys.

    One for each part of each prediction: its reader holds the voxels.
    """

    def __init__(self, files: Mapping[str, Any]) -> None:
        self._files = files
        self._keys: tuple[str, ...] = ()

    @property
    def absent(self) -> frozenset[str]:
        """The keys that are loaded, but not from what was given."""
        return frozenset(self._keys) - frozenset(self.data())

    def data(self) -> dict[str, Any]:
        """Return what goes into the preprocessing: the names of what is read, by key.

        Raises:
            ConfigRefused: the configuration loads nothing, or another number of images.

        """
        names = list(self._files)
        keys = [key for key in dict.fromkeys(self._keys) if key not in _TRUTH]
        if not keys:
            raise ConfigRefused("the preprocessing loads no image by LoadImaged")
        if len(keys) == 1:
            return {keys[0]: names}
        if len(keys) != len(names):
            raise ConfigRefused(f"the preprocessing loads {len(keys)} images, not {len(names)}")
        return dict(zip(keys, names, strict=True))

    def load(  # noqa: PLR0913, MONAI's arguments; those that it does not name are not even resolved
        self,
        keys: str | Sequence[str],
        *,
        dtype: Any = np.float32,
        image_only: bool = True,
        ensure_channel_first: bool = False,
        meta_keys: Any = None,
        meta_key_postfix: str = "meta_dict",
        channel_dim: str | int | None = None,
        as_closest_canonical: bool = False,
        converter: Callable[[Any], Any] | None = None,
        reverse_indexing: bool = True,
    ) -> MapTransform:
        """Stand for ``LoadImaged``: of its arguments those that shape what it gives."""
        names = tuple(map(str, ensure_tuple(keys)))
        self._keys += names
        is_volume = all(isinstance(file, Volume) for file in self._files.values())
        reader = (
            _Volumes(channel_dim=channel_dim, as_closest_canonical=as_closest_canonical)
            if is_volume
            else _Pictures(converter=converter, reverse_indexing=reverse_indexing)
        )
        reader.files = self._files
        postfixes = ensure_tuple_rep(meta_key_postfix, len(names))
        stated = ensure_tuple_rep(meta_keys, len(names))
        meta = {
            name: one or f"{name}_{postfix}"
            for name, one, postfix in zip(names, stated, postfixes, strict=True)
        }
        loading = Load(
            reader,
            {name: None if image_only else meta[name] for name in names},
            dtype=dtype,
            is_channel_first=ensure_channel_first,
        )
        loading.is_plain = dtype is np.float32 and channel_dim is None and not as_closest_canonical
        return loading


class Load(MapTransform):
    """What ``LoadImaged`` does with one reader. Keys whose files were not given are passed over.

    Args:
        reader: gives arrays and metadata of names.
        meta_keys: by the key of each image where its metadata goes besides, None for nowhere.
        dtype: what values become.
        is_channel_first: move the axis of channels to the front, or make one.

    """

    #: whether it gives float32 on the grid of the file, its axes as they are
    is_plain: bool

    def __init__(
        self,
        reader: _Volumes | _Pictures,
        meta_keys: Mapping[Hashable, str | None],
        *,
        dtype: Any,
        is_channel_first: bool,
    ) -> None:
        super().__init__(tuple(meta_keys), allow_missing_keys=True)
        self._reader = reader
        self._meta_keys = meta_keys
        self._dtype = dtype
        self.is_channel_first = is_channel_first

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with images in the place of names."""
        loaded = dict(data)
        for key in self.key_iterator(loaded):
            array, meta = self._reader.get_data(self._reader.read(loaded[key]))
            array = convert_to_dst_type(array, dst=array, dtype=self._dtype)[0]
            meta["filename_or_obj"] = ensure_tuple(loaded[key])[0]
            image = MetaTensor.ensure_torch_and_prune_meta(array, meta)
            loaded[key] = EnsureChannelFirst()(image) if self.is_channel_first else image
            meta_key = self._meta_keys[key]
            if meta_key is not None:
                loaded[meta_key] = image.meta
        return loaded


class _Volumes(NibabelReader):
    """Reads volumes by their name."""

    files: Mapping[str, Volume]

    def read(self, data: Any, **_: Any) -> Any:
        """Return one NIfTI image in memory, or a list of them."""
        self.filenames = ensure_tuple(data)
        images = [_nifti(self.files[name]) for name in self.filenames]
        return images if len(images) > 1 else images[0]


class _Pictures(PILReader):
    """Reads frames by their name."""

    files: Mapping[str, NDArray[Any]]

    def read(self, data: Any, **_: Any) -> Any:
        """Return one picture."""
        (name,) = ensure_tuple(data)
        picture = Picture.fromarray(_eight_bit(self.files[name]))
        return self.converter(picture) if callable(self.converter) else picture


def _nifti(volume: Volume) -> Any:
    library: Any = nib.nifti1
    return library.Nifti1Image(volume.values().transpose(2, 1, 0), ras_affine(volume))


def _eight_bit(frame: NDArray[Any]) -> NDArray[Any]:
    """Return grey values that a PNG file could hold as what PIL reads from it: converters differ.

    A grey image arrives as floats whatever it was stored as.
    """
    if frame.dtype.kind != "f" or frame.min() < 0 or frame.max() > 255:
        return frame
    whole = frame.astype(np.uint8)
    return whole if np.array_equal(whole, frame) else frame
