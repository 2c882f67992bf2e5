//! Layer normalisation and attention.

use tch::{TchError, Tensor};

/// Shifts and scales each row of `[rows, width]` to mean 0 and variance 1; epsilon 1e-6.
pub(in crate::fast) fn normalise(x: &Tensor) -> Result<Tensor, TchError> {
    let width = x.size2()?.1;
    x.f_layer_norm([width], None::<Tensor>, None::<Tensor>, 1e-6, false)
}

/// `softmax(q k^T) v` for each galaxy and head: `[token * batch, 3 * width] -> [token * batch, width]`.
pub(in crate::fast) fn attend(qkv: &Tensor, batch: i64, heads: usize) -> Result<Tensor, TchError> {
    let (rows, width) = qkv.size2()?;
    let (tokens, width, heads) = (rows / batch, width / 3, heads as i64);
    let qkv = qkv.f_view([tokens, batch, 3, heads, width / heads])?;
    let [q, k, v] = [0, 1, 2].map(|n| qkv.f_select(2, n)?.f_permute([1, 2, 0, 3]));
    let (q, k, v) = (&q?, &k?, &v?);
    let mask = None::<Tensor>;
    let mixed = Tensor::f_scaled_dot_product_attention(q, k, v, mask, 0.0, false, 1.0, false)?;
    mixed.f_permute([2, 0, 1, 3])?.f_reshape([rows, width])
}
