//! CPU functions of `shaders/activation.wgsl`: the meaning, where the shader is the method. Shapes as stated there.

use crate::Activation;
use crate::kernel::Params;
use crate::real::Real;

/// `a = f(z)`.
#[inline(always)]
pub(crate) fn activation<T: Real>(p: &Params, z: &[T], a: &mut [T]) {
    let count = p.count as usize;
    let (z, a) = (&z[..count], &mut a[..count]);
    // One loop a function, so that none has to ask in the middle which it is.
    match Activation::from_code(p.activation) {
        Activation::Sigmoid => map(z, a, |z| Activation::Sigmoid.f(z)),
        Activation::Tanh => map(z, a, |z| Activation::Tanh.f(z)),
        Activation::Relu => map(z, a, |z| Activation::Relu.f(z)),
        Activation::LeakyRelu => map(z, a, |z| Activation::LeakyRelu.f(z)),
        Activation::Elu => map(z, a, |z| Activation::Elu.f(z)),
        Activation::Gelu => map(z, a, |z| Activation::Gelu.f(z)),
        Activation::GeluTanh => map(z, a, |z| Activation::GeluTanh.f(z)),
        Activation::Silu => map(z, a, |z| Activation::Silu.f(z)),
        Activation::Softplus => map(z, a, |z| Activation::Softplus.f(z)),
        Activation::Identity | Activation::Softmax => map(z, a, |z| z),
    }
}

#[inline(always)]
fn map<T: Real>(from: &[T], to: &mut [T], f: impl Fn(T) -> T) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = f(from);
    }
}

/// `s = f'(z)`.
pub(crate) fn activation_prime<T: Real>(p: &Params, z: &[T], s: &mut [T]) {
    let f = Activation::from_code(p.activation);
    let count = p.count as usize;
    for (s, &z) in s[..count].iter_mut().zip(&z[..count]) {
        *s = f.f_prime(z, f.f(z));
    }
}

/// `delta = delta (.) f'(z)`, with `a = f(z)`, over the rows and columns of these.
#[inline(always)]
pub(crate) fn times_prime<T: Real>(f: Activation, z: &[T], a: &[T], delta: &mut [T]) {
    match f {
        Activation::Sigmoid => scale(z, a, delta, |z, a| Activation::Sigmoid.f_prime(z, a)),
        Activation::Tanh => scale(z, a, delta, |z, a| Activation::Tanh.f_prime(z, a)),
        Activation::Relu => scale(z, a, delta, |z, a| Activation::Relu.f_prime(z, a)),
        Activation::LeakyRelu => scale(z, a, delta, |z, a| Activation::LeakyRelu.f_prime(z, a)),
        Activation::Elu => scale(z, a, delta, |z, a| Activation::Elu.f_prime(z, a)),
        Activation::Gelu => scale(z, a, delta, |z, a| Activation::Gelu.f_prime(z, a)),
        Activation::GeluTanh => scale(z, a, delta, |z, a| Activation::GeluTanh.f_prime(z, a)),
        Activation::Silu => scale(z, a, delta, |z, a| Activation::Silu.f_prime(z, a)),
        Activation::Softplus => scale(z, a, delta, |z, a| Activation::Softplus.f_prime(z, a)),
        Activation::Identity | Activation::Softmax => {}
    }
}

#[inline(always)]
fn scale<T: Real>(z: &[T], a: &[T], delta: &mut [T], f_prime: impl Fn(T, T) -> T) {
    for ((d, &z), &a) in delta.iter_mut().zip(z).zip(a) {
        *d = *d * f_prime(z, a);
    }
}

/// `c = x (.) y`.
pub(crate) fn hadamard<T: Real>(p: &Params, x: &[T], y: &[T], c: &mut [T]) {
    let count = p.count as usize;
    for ((c, &x), &y) in c[..count].iter_mut().zip(&x[..count]).zip(&y[..count]) {
        *c = x * y;
    }
}

/// `a[b,j] = e^(z[b,j] - m) / sum_k e^(z[b,k] - m)`, `m` the largest of the row.
pub(crate) fn softmax<T: Real>(p: &Params, z: &[T], a: &mut [T]) {
    let outputs = p.outputs as usize;
    for (z, a) in z.chunks_exact(outputs).zip(a.chunks_exact_mut(outputs)).take(p.rows as usize) {
        let m = largest(z);
        let mut sum = T::ZERO;
        for (a, &z) in a.iter_mut().zip(z) {
            *a = (z - m).exp();
            sum = sum + *a;
        }
        for a in a {
            *a = *a / sum;
        }
    }
}

/// The largest of a row.
pub(crate) fn largest<T: Real>(row: &[T]) -> T {
    row.iter().fold(T::exact(-3.4e38), |m, &z| m.larger(z))
}
