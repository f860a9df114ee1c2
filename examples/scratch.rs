use std::time::Instant;
use wgrad::*;
fn main() -> Result<()> {
    let a: Vec<String> = std::env::args().collect();
    let sizes: Vec<usize> = a[1].split('-').map(|s| s.parse().unwrap()).collect();
    let batch: usize = a[2].parse().unwrap();
    let steps: usize = a[3].parse().unwrap();
    let device = Device::named(&a[4])?;
    let n = batch * steps.min(32);
    let mut s = 1u64;
    let mut r = || {
        s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (s >> 40) as f32 / 16777216.0
    };
    let x: Vec<f32> = (0..n * sizes[0]).map(|_| r()).collect();
    let y: Vec<f32> = (0..n * sizes[sizes.len() - 1]).map(|_| r()).collect();
    let data = Dataset::new(x, sizes[0], y, sizes[sizes.len() - 1])?;
    let mut b = Network::new(sizes[0]);
    for &w in &sizes[1..] {
        b = b.dense(w, Activation::Sigmoid);
    }
    if a.len() > 5 {
        b = b.plan(a[5].parse()?);
    }
    let mut net = b.build(&device)?;
    let epochs = steps / (n / batch);
    let mut t = Trainer::new(Cost::Quadratic, Sgd::new(0.5)).batch_size(batch).epochs(epochs.max(1));
    for _ in 0..3 {
        let start = Instant::now();
        t.fit(&mut net, &data, None)?;
        let e = start.elapsed().as_secs_f64();
        let st = (epochs.max(1) * (n / batch)) as f64;
        let mut fl: f64 = sizes.windows(2).map(|w| 6.0 * (w[0] * w[1] * batch) as f64).sum();
        fl -= 2.0 * (sizes[0] * sizes[1] * batch) as f64;
        println!(
            "{device} {} b{batch}: {:.0} steps/s {:.2} us/step {:.2} GFLOP/s",
            a[1],
            st / e,
            e / st * 1e6,
            fl * st / e / 1e9
        );
    }
    Ok(())
}
