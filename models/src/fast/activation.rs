//! The functions that are fused into linear layers.

/// The function that is applied to the outputs of a linear layer. `HubbleflowActivation` in `loops/table.h` has the same
/// numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    Identity = 0,
    Relu = 1,
    Gelu = 2,
}
