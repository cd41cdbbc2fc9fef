"""Transforms that a configuration may build: those that compute on arrays in memory.

Left out: whatever reads or writes files (see ``placeholders``), prints, sleeps, or takes the name
of something in another library (TorchVision, TorchIO, CuCIM).
"""

from __future__ import annotations

from collections.abc import Mapping

_CROPS = (
    "BorderPad BoundingRect CenterScaleCrop CenterSpatialCrop Crop CropForeground DivisiblePad Pad "
    "RandCropByLabelClasses RandCropByPosNegLabel RandScaleCrop RandSpatialCrop "
    "RandSpatialCropSamples RandWeightedCrop ResizeWithPadOrCrop SpatialCrop SpatialPad"
)
_INTENSITY = (
    "AdjustContrast ClipIntensityPercentiles ComputeHoVerMaps ForegroundMask GaussianSharpen "
    "GaussianSmooth GibbsNoise HistogramNormalize KSpaceSpikeNoise MaskIntensity MedianSmooth "
    "NormalizeIntensity RandAdjustContrast RandBiasField RandCoarseDropout RandCoarseShuffle "
    "RandGaussianNoise RandGaussianSharpen RandGaussianSmooth RandGibbsNoise RandHistogramShift "
    "RandKSpaceSpikeNoise RandRicianNoise RandScaleIntensity RandScaleIntensityFixedMean "
    "RandShiftIntensity RandStdShiftIntensity SavitzkyGolaySmooth ScaleIntensity "
    "ScaleIntensityRange ScaleIntensityRangePercentiles ShiftIntensity StdShiftIntensity "
    "ThresholdIntensity"
)
_POST = (
    "Activations AsDiscrete DistanceTransformEDT FillHoles GenerateHeatmap Invert "
    "KeepLargestConnectedComponent LabelFilter LabelToContour MeanEnsemble ProbNMS "
    "RemoveSmallObjects SobelGradients VoteEnsemble"
)
_SPATIAL = (
    "Affine ConvertBoxToPoints ConvertPointsToBoxes Flip GridDistortion GridPatch GridSplit "
    "Orientation Rand2DElastic Rand3DElastic RandAffine RandAxisFlip RandFlip RandGridDistortion "
    "RandGridPatch RandRotate RandRotate90 RandSimulateLowResolution RandZoom ResampleToMatch "
    "Resize Rotate Rotate90 Spacing SpatialResample Zoom"
)
_UTILITY = (
    "AddCoordinateChannels AddExtremePointsChannel ApplyTransformToPoints AsChannelLast CastToType "
    "ClassesToIndices ConvertToMultiChannelBasedOnBratsClasses EnsureChannelFirst EnsureType "
    "FgBgToIndices FlattenSequence Identity ImageFilter IntensityStats LabelToMask Lambda "
    "MapLabelValue RandImageFilter RandLambda RemoveRepeatedChannel RepeatChannel SplitDim "
    "SqueezeDim ToDevice ToNumpy ToTensor Transpose"
)


def _dictionary(names: str) -> str:
    return " ".join(f"{name}d" for name in names.split())


_MONAI = {
    "compose": "Compose OneOf RandomOrder SomeOf",
    "croppad.array": _CROPS,
    "croppad.dictionary": f"{_dictionary(_CROPS)} RandCropd",
    "intensity.array": f"{_INTENSITY} DetectEnvelope IntensityRemap RandIntensityRemap "
    "ScaleIntensityFixedMean UltrasoundConfidenceMapTransform",
    "intensity.dictionary": _dictionary(_INTENSITY),
    "inverse_batch_transform": "BatchInverseTransform Decollated",
    "lazy.array": "ApplyPending",
    "lazy.dictionary": "ApplyPendingd",
    "meta_utility.dictionary": "FromMetaTensord ToMetaTensord",
    "post.array": _POST,
    "post.dictionary": f"{_dictionary(_POST)} Ensembled",
    "regularization.array": "CutMix CutOut MixUp",
    "regularization.dictionary": "CutMixd CutOutd MixUpd",
    "smooth_field.array": "RandSmoothDeform RandSmoothFieldAdjustContrast "
    "RandSmoothFieldAdjustIntensity SmoothField",
    "smooth_field.dictionary": "RandSmoothDeformd RandSmoothFieldAdjustContrastd "
    "RandSmoothFieldAdjustIntensityd",
    "spatial.array": f"{_SPATIAL} AffineGrid RandAffineGrid RandDeformGrid Resample",
    "spatial.dictionary": _dictionary(_SPATIAL),
    "utility.array": f"{_UTILITY} RandIdentity",
    "utility.dictionary": f"{_dictionary(_UTILITY)} ConcatItemsd CopyItemsd DeleteItemsd "
    "FlattenSubKeysd SelectItemsd TransformPointsImageToWorldd TransformPointsWorldToImaged",
}
_BOXES = (
    "StandardizeEmptyBox ConvertBoxMode ConvertBoxToStandardMode ZoomBox FlipBox ClipBoxToImage "
    "BoxToMask MaskToBox RotateBox90"
)
_PATHOLOGY = (
    "GenerateDistanceMap GenerateInstanceBorder GenerateInstanceCentroid GenerateInstanceContour "
    "GenerateInstanceType GenerateSuccinctContour GenerateWatershedMarkers GenerateWatershedMask "
    "HoVerNetInstanceMapPostProcessing HoVerNetNuclearTypePostProcessing Watershed"
)
_STAIN = "ExtractHEStains NormalizeHEStains"
#: packages, and the names below each by the module that defines them
PACKAGES: Mapping[str, Mapping[str, str]] = {
    "monai.transforms": _MONAI,
    "monai.apps.detection.transforms": {
        "array": f"{_BOXES} AffineBox ResizeBox SpatialCropBox",
        "dictionary": f"{_dictionary(_BOXES)} AffineBoxToImageCoordinated "
        "AffineBoxToWorldCoordinated RandZoomBoxd RandFlipBoxd RandCropBoxByPosNegLabeld "
        "RandRotateBox90d",
    },
    "monai.apps.pathology.transforms": {
        "post.array": _PATHOLOGY,
        "post.dictionary": _dictionary(_PATHOLOGY),
        "stain.array": _STAIN,
        "stain.dictionary": _dictionary(_STAIN),
    },
    "monai.apps.vista3d": {"transforms": "VistaPreTransformd VistaPostTransformd Relabeld"},
    "monai.apps.deepedit": {
        "transforms": "DiscardAddGuidanced AddGuidanceSignalDeepEditd "
        "AddGuidanceFromPointsDeepEditd ResizeGuidanceMultipleLabelDeepEditd SplitPredsLabeld"
    },
    "monai.apps.nuclick": {
        "transforms": "AddPointGuidanceSignald AddClickSignalsd PostFilterLabeld "
        "AddLabelAsGuidanced SetLabelClassd"
    },
}


def plain_name(name: str) -> str:
    """Return the name of a dictionary transform that MONAI also calls ``...D`` and ``...Dict``."""
    for suffix in ("Dict", "D"):
        if name.endswith(suffix):
            return f"{name.removesuffix(suffix)}d"
    return name
