//! Small networks and made-up data.

use wgrad::plan::PlanKind;
use wgrad::{Activation, Cost, Device, Layer, Network, reference};

/// Numbers from a seed (`SplitMix64`), the same on every machine.
#[derive(Debug, Clone)]
pub struct Numbers(pub u64);

impl Numbers {
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `n - 1`.
    pub fn below(&mut self, n: u32) -> u32 {
        u32::try_from(self.word() % u64::from(n)).expect("below n")
    }

    /// In [-1, 1), a multiple of 2^-23.
    #[allow(clippy::cast_precision_loss, reason = "24 bits are exact in f32")]
    pub fn symmetric(&mut self) -> f32 {
        (self.word() >> 40) as f32 / 8_388_608.0 - 1.0
    }

    /// In [0, 1).
    pub fn unit(&mut self) -> f32 {
        0.5 * (self.symmetric() + 1.0)
    }

    pub fn many(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.symmetric()).collect()
    }
}

/// What a network is like, before it is on any device.
#[derive(Debug, Clone, PartialEq)]
pub struct Arch {
    pub inputs: usize,
    pub dense: Vec<(usize, Activation)>,
    pub cost: Cost,
}

impl Arch {
    pub fn new(inputs: usize, dense: &[(usize, Activation)], cost: Cost) -> Self {
        Self { inputs, dense: dense.to_vec(), cost }
    }

    pub fn build(&self, device: &Device, kind: PlanKind, seed: u64) -> Network {
        let start = Network::new(self.inputs).plan(kind).seed(seed);
        let builder = self.dense.iter().fold(start, |net, &(width, activation)| net.dense(width, activation));
        builder.build(device).expect("a network that can be")
    }

    pub fn outputs(&self) -> usize {
        self.dense[self.dense.len() - 1].0
    }

    /// The f64 reference with these parameters, laid out in one arena as the network's layers say.
    pub fn reference(&self, layers: &[Layer], arena: &[f32]) -> reference::Network {
        let sizes: Vec<usize> = std::iter::once(self.inputs).chain(self.dense.iter().map(|d| d.0)).collect();
        let activations: Vec<Activation> = self.dense.iter().map(|d| d.1).collect();
        let mut net = reference::Network::new(&sizes, &activations, self.cost).expect("an allowed pairing");
        let exact = |range: std::ops::Range<usize>| arena[range].iter().map(|&x| f64::from(x)).collect();
        net.weights = layers.iter().map(|layer| exact(layer.weights())).collect();
        net.biases = layers.iter().map(|layer| exact(layer.biases())).collect();
        net
    }

    /// Inputs in [-1, 1) and targets of the kind that the cost is for.
    pub fn data(&self, rows: usize, seed: u64) -> (Vec<f32>, Vec<f32>) {
        let mut numbers = Numbers(seed);
        let x = numbers.many(rows * self.inputs);
        let y = (0..rows).flat_map(|_| target(&mut numbers, self.cost, self.outputs())).collect();
        (x, y)
    }
}

/// One row of targets: any numbers, probabilities, or quarters that add up to 1 exactly.
fn target(numbers: &mut Numbers, cost: Cost, outputs: usize) -> Vec<f32> {
    match cost {
        Cost::CategoricalCrossEntropy => {
            let mut y = vec![0.0; outputs];
            let wide = u32::try_from(outputs).expect("a small width");
            for _ in 0..4 {
                y[numbers.below(wide) as usize] += 0.25;
            }
            y
        }
        Cost::BinaryCrossEntropy => (0..outputs).map(|_| numbers.unit()).collect(),
        _ => numbers.many(outputs),
    }
}

/// The activations that a hidden layer can have.
pub fn elementwise() -> Vec<Activation> {
    Activation::ALL.into_iter().filter(|f| f.is_elementwise()).collect()
}

/// Every output activation with every cost that it goes with.
pub fn pairings() -> Vec<(Activation, Cost)> {
    let pairs = Activation::ALL.into_iter().flat_map(|f| Cost::ALL.map(|cost| (f, cost)));
    pairs.filter(|(f, cost)| cost.goes_with(*f)).collect()
}

/// Rows of a flat array as examples for the reference.
pub fn examples(x: &[f32], inputs: usize, y: &[f32], outputs: usize) -> Vec<reference::Example> {
    let wide = |row: &[f32]| row.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
    x.chunks(inputs).zip(y.chunks(outputs)).map(|(x, y)| (wide(x), wide(y))).collect()
}

/// The reference's arrays, one a layer, as one arena in the order of [`Network::parameters`].
pub fn arena(layers: &[Layer], weights: &[Vec<f64>], biases: &[Vec<f64>]) -> Vec<f64> {
    let len = layers.last().expect("a layer").biases().end;
    let mut arena = vec![f64::NAN; len];
    for (l, layer) in layers.iter().enumerate() {
        arena[layer.weights()].copy_from_slice(&weights[l]);
        arena[layer.biases()].copy_from_slice(&biases[l]);
    }
    arena
}

/// The bits, which is what has to be equal where results are to repeat.
pub fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}
