"""Image processor of the forgery models: photographs and masks in, pixel values and labels out, and back.

Paper: PromptForge-350k / ICL-Net, section 6.1 (512 x 512 inputs) and section 4 (128 x 128 masks). Resampling filter,
padding and EXIF rule are not given in the paper. Polarity: 1 = forged pixel.
Masks of DiffSeg30k hold ids of editors (its section 4.1); which id means which editor is not given in the paper.
"""

import os
from typing import Any, get_args

import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.transforms.v2 import functional as tvF
from transformers.image_processing_backends import TorchvisionBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_transforms import group_images_by_shape, reorder_images
from transformers.image_utils import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    ImageInput,
    PILImageResampling,
    SizeDict,
    load_image,
)
from transformers.processing_utils import ImagesKwargs, Unpack

from .image_conversion import to_upright_rgb
from .image_enlarging import enlarged_size
from .mask_conversion import MaskValues, read_masks, sample_labels


class ForgeryImageProcessorKwargs(ImagesKwargs, total=False):  # type: ignore[call-arg]
    """Arguments beyond those of every image processor.

    Attributes:
        size_divisor (`int`): with `do_resize=False`, images are padded to a multiple of this many pixels.
        mask_stride (`int`): labels have one value for this many pixels of `pixel_values` in each direction.
        smallest_edge (`int`, *optional*): with `do_resize=False`, images whose shorter edge is below this many pixels
            are enlarged to it.
        mask_values (`str`): "binary", "ids" or "any"; what the pixels of a mask say, see `read_mask`.
        id2editor (`list[str]`, *optional*): names of the editors with the ids 1, 2, ... in masks of ids.
    """

    size_divisor: int
    mask_stride: int
    smallest_edge: int | None
    mask_values: MaskValues
    id2editor: list[str] | tuple[str, ...] | None


class ForgeryImageProcessor(TorchvisionBackend):
    """Turn photographs and masks into model inputs, and logits into masks at the photograph's size.

    With `do_resize=True` every image is resized to `size`. With `do_resize=False` images keep their pixels and are
    padded at the bottom and right (edge pixels repeated) to the largest of the batch, rounded up to `size_divisor`.
    Labels of padded pixels are 255, which losses and metrics skip. Images below `smallest_edge` are enlarged first,
    and their outputs are brought back to their own size.

    Args:
        do_resize: resize to `size` (default) or keep the native resolution.
        size: `{"height": 512, "width": 512}`, pixels (ICL-Net section 6.1).
        do_pad: pad when `do_resize=False`; needed unless all images of a batch have one size, a multiple of
            `size_divisor`.
        size_divisor: 32, the total stride of a SegFormer encoder.
        mask_stride: 4, so labels are 128 x 128 for a 512 x 512 input.
        smallest_edge: None: images keep their size; 512 for GAMMA (section 5.1), see `enlarged_size`.
        mask_values: "binary": masks mark forged pixels. "ids": they hold ids of editors, which become the labels.
            "any": masks of either form mark forged pixels. See `read_mask`.
        id2editor: names of the editors with the ids 1, 2, ...; a mask with another id is refused. None: any id.

    Raises:
        ValueError: unknown `mask_values`.

    Example:
        >>> from PIL import Image
        >>> processor = ForgeryImageProcessor()
        >>> batch = processor(Image.new("RGB", (640, 480)), Image.new("L", (640, 480)), return_tensors="pt")
        >>> batch["pixel_values"].shape, batch["labels"].shape
        (torch.Size([1, 3, 512, 512]), torch.Size([1, 128, 128]))
    """

    valid_kwargs = ForgeryImageProcessorKwargs
    model_input_names = ["pixel_values"]  # noqa: RUF012 - transformers reads it as a plain class attribute
    do_resize = True
    size = {"height": 512, "width": 512}  # noqa: RUF012
    resample = PILImageResampling.BILINEAR
    do_convert_rgb = True
    do_rescale = True
    rescale_factor = 1 / 255
    do_normalize = True
    image_mean = IMAGENET_DEFAULT_MEAN
    image_std = IMAGENET_DEFAULT_STD
    do_pad = True
    size_divisor = 32
    mask_stride = 4
    smallest_edge = None
    mask_values = "binary"
    id2editor = None

    def __init__(self, **kwargs: Unpack[ForgeryImageProcessorKwargs]):
        super().__init__(**kwargs)
        if self.mask_values not in get_args(MaskValues):
            raise ValueError(f"expected mask_values {', '.join(get_args(MaskValues))}, got {self.mask_values!r}")

    def preprocess(
        self,
        images: ImageInput,
        segmentation_maps: ImageInput | None = None,
        **kwargs: Unpack[ForgeryImageProcessorKwargs],
    ) -> BatchFeature:
        """Prepare images, and their masks when given.

        Args:
            images: one image or a list: PIL, array or tensor of values 0..255, path or URL.
            segmentation_maps: one mask an image, see `read_mask`; None in the list is an authentic image.
            **kwargs: any attribute of the processor, for this call only; `return_tensors="pt"` stacks.

        Returns:
            `pixel_values` (B, 3, H, W) float32, normalized, and with masks `labels` (B, H / mask_stride,
            W / mask_stride) int64: 1 = forged, or the id of the editor; 0 = authentic, 255 = padding.

        Raises:
            ValueError: number of masks, size or values of a mask, or a `size` that is no multiple of `size_divisor`.
        """
        return super().preprocess(images, segmentation_maps, **kwargs)

    def fetch_images(self, image_url_or_urls: Any) -> Any:
        """Open paths with PIL, so that a path and its image give the same values; other inputs pass unchanged."""
        if isinstance(image_url_or_urls, list | tuple):
            return [self.fetch_images(entry) for entry in image_url_or_urls]
        if isinstance(image_url_or_urls, str):
            is_file = os.path.isfile(image_url_or_urls)
            return Image.open(image_url_or_urls) if is_file else load_image(image_url_or_urls)
        return super().fetch_images(image_url_or_urls)

    def process_image(self, image: ImageInput, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Convert one image to a (3, H, W) tensor, uint8 from PIL; EXIF orientation applied."""
        if isinstance(image, Image.Image):
            # converting again would copy: 150 MB for a photograph of 50 megapixels
            image, kwargs["do_convert_rgb"] = to_upright_rgb(image), False
        return super().process_image(image, *args, **kwargs)

    def _preprocess_image_like_inputs(
        self,
        images: ImageInput,
        segmentation_maps: ImageInput | None,
        do_convert_rgb: bool,
        input_data_format: Any,
        return_tensors: Any,
        device: Any = None,
        **kwargs: Any,
    ) -> BatchFeature:
        self._check_size(kwargs["do_resize"], kwargs["size"], kwargs["size_divisor"], kwargs["mask_stride"])
        tensors = self._prepare_image_like_inputs(
            images=images, do_convert_rgb=do_convert_rgb, input_data_format=input_data_format, device=device
        )
        shown = [(tensor.shape[-2], tensor.shape[-1]) for tensor in tensors]
        if not kwargs["do_resize"]:
            tensors = [self.enlarge(tensor, kwargs["smallest_edge"], kwargs["resample"]) for tensor in tensors]
        data: dict[str, Any] = {"pixel_values": self._preprocess(tensors, **kwargs)}
        if segmentation_maps is not None:
            masks = read_masks(segmentation_maps, shown, kwargs["mask_values"], kwargs["id2editor"])
            if not kwargs["do_resize"]:
                masks = [self.enlarge(mask, kwargs["smallest_edge"], PILImageResampling.NEAREST) for mask in masks]
            data["labels"] = [
                sample_labels(mask, values, kwargs["do_resize"], kwargs["mask_stride"])
                for mask, values in zip(masks, data["pixel_values"], strict=True)
            ]
        return BatchFeature(data=data, tensor_type=return_tensors)

    @staticmethod
    def _check_size(do_resize: bool, size: SizeDict, size_divisor: int, mask_stride: int) -> None:
        if size_divisor % mask_stride:
            raise ValueError(
                f"expected size_divisor to be a multiple of mask_stride, got {size_divisor}, {mask_stride}"
            )
        if do_resize and not (size.height and size.width):
            raise ValueError(f"expected size with the keys height and width, got {dict(size)}")
        if do_resize and (size.height % size_divisor or size.width % size_divisor):
            raise ValueError(
                f"expected a height and width that are multiples of {size_divisor}, got {size.height} x {size.width}: "
                "choose such a size, or do_resize=False, which pads"
            )

    def _preprocess(
        self,
        images: list[torch.Tensor],
        do_resize: bool,
        size: SizeDict,
        resample: Any,
        do_rescale: bool,
        rescale_factor: float,
        do_normalize: bool,
        image_mean: Any,
        image_std: Any,
        do_pad: bool,
        size_divisor: int,
        disable_grouping: bool | None,
        **kwargs: Any,
    ) -> list[torch.Tensor]:
        if do_resize:
            groups, index = group_images_by_shape(images, disable_grouping=disable_grouping)
            resized = {shape: self.resize(stack, size=size, resample=resample) for shape, stack in groups.items()}
            images = reorder_images(resized, index)
        elif do_pad:
            images = self._pad_to_largest(images, size_divisor)
        groups, index = group_images_by_shape(images, disable_grouping=disable_grouping)
        normalized = {
            shape: self.rescale_and_normalize(stack, do_rescale, rescale_factor, do_normalize, image_mean, image_std)
            for shape, stack in groups.items()
        }
        return reorder_images(normalized, index)

    @staticmethod
    def _pad_to_largest(images: list[torch.Tensor], size_divisor: int) -> list[torch.Tensor]:
        """Pad (C, H, W) images to one size: repeated edges, since a constant border is an edge to a noise stream."""
        height, width = (
            -(-max(image.shape[axis] for image in images) // size_divisor) * size_divisor for axis in (-2, -1)
        )
        return [
            tvF.pad(image, [0, 0, width - image.shape[-1], height - image.shape[-2]], padding_mode="edge")
            for image in images
        ]

    def enlarge(self, image: torch.Tensor, smallest_edge: int | None, resample: Any) -> torch.Tensor:
        """Enlarge an image (C, H, W) as `enlarged_size` says; one that is large enough is returned as it is."""
        height, width = enlarged_size(image.shape[-2], image.shape[-1], smallest_edge)
        if (height, width) == tuple(image.shape[-2:]):
            return image
        return self.resize(image, size=SizeDict(height=height, width=width), resample=resample)

    def _upsampled_logits(self, logits: torch.Tensor, target_size: tuple[int, int]) -> torch.Tensor:
        """Bring the logits (C, h, w) of one image to its size, bilinear; padding is cropped away."""
        target = int(target_size[0]), int(target_size[1])
        if self.do_resize:
            grid = shown = target
        else:
            grid = (logits.shape[-2] * self.mask_stride, logits.shape[-1] * self.mask_stride)
            shown = enlarged_size(*target, self.smallest_edge)
            if shown[0] > grid[0] or shown[1] > grid[1]:
                raise ValueError(f"expected a target size within the padded input {grid}, got {shown}")
        values = F.interpolate(logits[None].float(), size=grid, mode="bilinear", align_corners=False)
        values = values[..., : shown[0], : shown[1]]
        if shown != target:
            values = F.interpolate(values, size=target, mode="bilinear", align_corners=False, antialias=True)
        return values[0]

    def post_process_probability_map(
        self, outputs: Any, target_sizes: list[tuple[int, int]] | None = None
    ) -> list[torch.Tensor]:
        """Turn model outputs into the probability of each pixel to be forged.

        Args:
            outputs: model output with `logits` (B, C, h, w); C = 1 is a sigmoid, C > 1 a softmax whose class 0 is
                authentic.
            target_sizes: (height, width) of each image as displayed, pixels; None keeps the grid of the logits.

        Returns:
            One (H, W) float32 tensor an image, 0..1.

        Raises:
            ValueError: number of target sizes, or one larger than the padded input.
        """
        maps = []
        for logits in self._logits_at_size(outputs, target_sizes):
            # in place where it can be: the map of a large photograph is a fifth of a gigabyte
            sigmoid = torch.sigmoid if target_sizes is None else torch.sigmoid_
            maps.append(sigmoid(logits[0]) if logits.shape[0] == 1 else 1 - logits.softmax(dim=0)[0])
        return maps

    def post_process_semantic_segmentation(
        self, outputs: Any, target_sizes: list[tuple[int, int]] | None = None, threshold: float = 0.5
    ) -> list[torch.Tensor]:
        """Turn model outputs into class maps; the stock image-segmentation pipeline calls it.

        Args:
            outputs: model output with `logits` (B, C, h, w).
            target_sizes: (height, width) of each image as displayed, pixels; None keeps the grid of the logits.
            threshold: with C = 1, a pixel is forged where its probability is at least this (0..1). Not given in the
                paper.

        Returns:
            One (H, W) int64 tensor an image: 0 authentic, 1 forged, or the class with C > 1.

        Raises:
            ValueError: number of target sizes, or one larger than the padded input.
        """
        maps = []
        for logits in self._logits_at_size(outputs, target_sizes):
            forged = logits[0].sigmoid() >= threshold if logits.shape[0] == 1 else logits.argmax(dim=0)
            maps.append(forged.to(torch.int64))
        return maps

    def _logits_at_size(self, outputs: Any, target_sizes: list[tuple[int, int]] | None) -> list[torch.Tensor]:
        logits = outputs.logits
        if target_sizes is None:
            return list(logits.float())
        if len(target_sizes) != len(logits):
            raise ValueError(f"expected one target size an image, got {len(target_sizes)} for {len(logits)} images")
        return [self._upsampled_logits(one, size) for one, size in zip(logits, target_sizes, strict=True)]
