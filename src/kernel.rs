//! The table of kernels: the one list that shaders, CPU functions, plans and tests are held to.
//!
//! A kernel has one name in three places: its WGSL entry point in `shaders/`, its row here, and its CPU function in the
//! file of `src/cpu/` that is named like the shader's. Tests walk [`Kernel::ALL`], so a kernel without a CPU function, or
//! whose shader disagrees with its row, cannot pass.

mod tile;
mod work;

use tile::Tile;
pub use tile::Tiling;
pub(crate) use tile::{most_groups_of_layers, tiles_of_layers};

/// How wide a tile of the matrix kernels is: `TILE` x `TILE` invocations compute as many elements.
pub(crate) const TILE: u64 = 8;
/// Invocations a workgroup in the elementwise and row-wise kernels.
pub(crate) const LANES: u64 = 64;
/// Parts of the sum of the squared gradients: one a lane of the workgroups that add them up.
pub(crate) const SQUARES: u32 = 64;
/// The widest last layer whose forward pass and error one workgroup a row can do, and in how many parts it adds up each sum.
pub(crate) const MOST_SMALL_OUTPUTS: u32 = 64;
const OUTPUT_PARTS: u32 = 8;
/// What the kernels of all layers are told in [`Params::cost`]: 0 to add up what rows score, 1 to move on to the next mini-batch too, and
/// this for neither.
pub(crate) const NO_TALLY: u32 = 2;
/// Bytes of workgroup memory that the kernels under [`Tiling::Workgroup`] have at most.
pub(crate) const MOST_WORKGROUP_BYTES: u32 = 8200;
/// No kernel has more than 64 invocations a workgroup, so that a device with the smallest limits can run all.
const _: () = assert!(LANES <= 64 && TILE * TILE <= 64);

/// What one dispatch is told: the uniform buffer of every kernel, thirteen words in this order (`struct Params` in WGSL).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Params {
    /// `B`: rows a mini-batch can hold.
    pub rows: u32,
    /// `I`: width of the layer below.
    pub inputs: u32,
    /// `O`: width of this layer.
    pub outputs: u32,
    /// Where `w_l` starts in the parameter and gradient arenas, in elements.
    pub w: u32,
    /// Where `b_l` starts there.
    pub b: u32,
    /// First term of the sum that this dispatch does; where the optimiser's numbers start in `walk`, for the kernels of
    /// `update.wgsl`.
    pub k_begin: u32,
    /// One past its last term.
    pub k_end: u32,
    /// Code of the activation.
    pub activation: u32,
    /// Code of the cost.
    pub cost: u32,
    /// Format of gathered words, that of the inputs plus 4 times that of the targets, or of those alone that `gather` takes: 0 `f32`, 1
    /// four bytes, 2 class label; 16 more
    /// where rows have weights, 32 more where the targets are in place already.
    pub format: u32,
    /// Elements of an elementwise kernel; all parameters, where their step is concerned; examples that the device holds at a time, where
    /// targets are gathered.
    pub count: u32,
    /// Code of the optimiser's rule.
    pub rule: u32,
    /// Workgroups before those of this dispatch: 0 in a plan; a device sets it where one dispatch cannot have as many as a step takes.
    pub first: u32,
}

impl Params {
    /// The names of the words, in order; a test compares them with every shader.
    pub const FIELDS: [&'static str; 13] = [
        "rows",
        "inputs",
        "outputs",
        "w",
        "b",
        "k_begin",
        "k_end",
        "activation",
        "cost",
        "format",
        "count",
        "rule",
        "first",
    ];

    /// The words as the uniform buffer holds them.
    #[must_use]
    pub fn words(&self) -> [u32; 13] {
        [
            self.rows,
            self.inputs,
            self.outputs,
            self.w,
            self.b,
            self.k_begin,
            self.k_end,
            self.activation,
            self.cost,
            self.format,
            self.count,
            self.rule,
            self.first,
        ]
    }
}

/// A shader's entry point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// The file in `shaders/`.
    pub file: &'static str,
    /// Invocations a workgroup.
    pub workgroup: [u32; 3],
}

/// What a kernel does with a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads it.
    In,
    /// Writes elements that it does not read first (when `k_begin` is 0).
    Out,
    /// Reads and writes it.
    InOut,
    /// Room for what it works out on the way: it need not hold anything before, and nobody may rely on what it holds after.
    Scratch,
}

/// What a buffer's 32-bit words are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Element {
    /// Floating-point numbers.
    F32,
    /// Whole numbers, or packed bytes.
    U32,
    /// Floating-point numbers that are read and written four at a time; sizes still count single ones.
    F32x4,
}

/// One buffer of a kernel; its place in [`KernelInfo::bindings`], counted from 1, is its `@binding` number.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    /// What it holds.
    pub name: &'static str,
    /// How it is used.
    pub access: Access,
    /// What its words are.
    pub element: Element,
}

/// A row of the table.
#[derive(Debug)]
pub struct KernelInfo {
    /// Its entry point and CPU function.
    pub name: &'static str,
    /// The file in `shaders/`.
    pub file: &'static str,
    /// Invocations a workgroup.
    pub workgroup: [u32; 3],
    /// Its buffers, from `@binding(1)` on; `@binding(0)` is [`Params`].
    pub bindings: &'static [Binding],
}

macro_rules! kernels {
    ($($(#[$doc:meta])* $variant:ident = $name:literal in $file:literal, $shape:expr, [$($access:ident $binding:ident: $element:ident),* $(,)?];)*) => {
        /// Every kernel of every plan.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Kernel { $($(#[$doc])* $variant),* }

        impl Kernel {
            /// Every kernel, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The kernel's row.
            #[must_use]
            pub const fn info(self) -> &'static KernelInfo {
                match self {
                    $(Self::$variant => &KernelInfo {
                        name: $name,
                        file: $file,
                        workgroup: $shape,
                        bindings: &[$(Binding { name: stringify!($binding), access: Access::$access, element: Element::$element }),*],
                    }),*
                }
            }
        }
    };
}

const LINE: [u32; 3] = [64, 1, 1];
const SQUARE: [u32; 3] = [8, 8, 1];

kernels! {
    /// The mini-batch's inputs, or its targets, out of the resident data.
    Gather = "gather" in "data.wgsl", LINE, [In control: U32, In order: U32, In words: U32, Out picked: F32];
    /// `z = a w^T + b` (equation 2).
    MatmulNt = "matmul_nt" in "matmul.wgsl", SQUARE, [In left: F32, In right: F32, Out out: F32];
    /// `delta w` (BP2).
    MatmulNn = "matmul_nn" in "matmul.wgsl", SQUARE, [In left: F32, In right: F32, Out out: F32];
    /// `delta^T a` (BP4).
    OuterProducts = "outer_products" in "matmul.wgsl", SQUARE, [In left: F32, In right: F32, Out out: F32];
    /// `sum_b delta` (BP3).
    BiasGradient = "bias_gradient" in "matmul.wgsl", LINE, [In left: F32, Out db: F32];
    /// `a = f(z)`.
    Activation = "activation" in "activation.wgsl", LINE, [In z: F32, Out out: F32];
    /// `f'(z)`.
    ActivationPrime = "activation_prime" in "activation.wgsl", LINE, [In z: F32, Out out: F32];
    /// `x (.) y`.
    Hadamard = "hadamard" in "activation.wgsl", LINE, [In z: F32, In y: F32, Out product: F32];
    /// Softmax of each row.
    Softmax = "softmax" in "activation.wgsl", LINE, [In z: F32, Out out: F32];
    /// `(a - y) / rows`.
    CostDerivative = "cost_derivative" in "cost.wgsl", LINE, [In control: U32, In y: F32, In a: F32, Out derivative: F32];
    /// The cost of each row.
    CostValue = "cost_value" in "cost.wgsl", LINE, [In z: F32, In y: F32, In a: F32, Out costs: F32];
    /// Whether each row is right.
    CountRight = "count_right" in "cost.wgsl", LINE, [In control: U32, In y: F32, In a: F32, Out rights: F32];
    /// The rows' costs and right answers into one place a step; then on to the next mini-batch.
    Tally = "tally" in "cost.wgsl", LINE, [InOut moving: U32, In rows: F32, InOut scores: F32];
    /// The true class, the class answered, and the rank of the true one, of each row.
    Answers = "answers" in "metrics.wgsl", LINE, [In control: U32, In y: F32, In a: F32, Out answer: U32];
    /// Answers counted by true class and class answered, and by rank.
    CountAnswers = "count_answers" in "metrics.wgsl", LINE, [In control: U32, In answered: U32, InOut counts: U32];
    /// The squared and the absolute errors of each output, summed over the rows.
    Residuals = "residuals" in "metrics.wgsl", LINE, [In control: U32, In y: F32, In a: F32, InOut errors: F32];
    /// The optimiser's step of every parameter.
    Update = "update" in "update.wgsl", LINE, [In walk: U32, In gradients: F32, InOut state: F32, InOut params: F32];
    /// The sum of the squared gradients, in parts.
    GradientSquares = "gradient_squares" in "update.wgsl", LINE, [In all: F32, Out squares: F32];
    /// Gradients scaled down to a norm.
    ClipGradients = "clip_gradients" in "update.wgsl", LINE, [In walk: U32, In parts: F32, InOut clipped: F32];
    /// The weights of each neuron scaled down to a norm.
    MaxNorm = "max_norm" in "update.wgsl", LINE, [In walk: U32, InOut weights: F32];
    /// Activations, or their errors, some of which are dropped.
    Dropout = "dropout" in "dropout.wgsl", LINE, [In control: U32, In kept: F32, Out dropped: F32];
    /// Fused: one layer forward.
    DenseForward = "dense_forward" in "dense.wgsl", LINE, [In below: F32, In params: F32, Out z_out: F32, Out a_out: F32];
    /// Fused: the first layer forward, from the resident data.
    GatherForward = "gather_forward" in "dense.wgsl", LINE, [In inputs: U32, In params: F32, Out z_out: F32, Out a_out: F32, Out x: F32, In control: U32, In order: U32];
    /// Fused: output error, cost and right answers.
    OutputError = "output_error" in "output_error.wgsl", LINE, [InOut control: U32, In order: U32, In targets: U32, InOut y: F32, InOut a: F32, In z: F32, Out delta_out: F32, Out rows: F32];
    /// Fused: a small last layer forward, output error, cost and right answers.
    OutputLayer = "output_layer" in "output_layer.wgsl", LINE, [InOut control: U32, In order: U32, In targets: U32, In below: F32, In params: F32, Out delta_out: F32, Out rows: F32];
    /// Fused: the error one layer back.
    DenseBackward = "dense_backward" in "dense.wgsl", LINE, [In delta: F32, In params: F32, In z_here: F32, In a_here: F32, Out delta_here: F32];
    /// Fused: weight and bias gradients of all layers, and the tally.
    DenseGradient = "dense_gradient" in "dense.wgsl", LINE, [In a_even: F32, In a_odd: F32, In delta_even: F32, In delta_odd: F32, InOut walk: U32, InOut scoring: F32, Out gradients: F32];
    /// Fused: weight and bias gradients of all layers, their step, and the tally.
    DenseUpdate = "dense_update" in "dense.wgsl", LINE, [In a_even: F32, In a_odd: F32, In delta_even: F32, In delta_odd: F32, InOut walk: U32, InOut scoring: F32, InOut state: F32, InOut weights: F32];
    /// Persistent: whole steps of small networks.
    Persistent = "persistent" in "persistent.wgsl", LINE, [InOut walk: U32, In inputs: U32, In targets: U32, In hyper: F32, InOut params: F32, InOut state: F32, Scratch work: F32x4, InOut scores: F32];
}

impl Kernel {
    /// The kernel's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.info().name
    }

    /// The entry point that runs this kernel under this tiling.
    #[must_use]
    pub const fn entry(self, tiling: Tiling) -> Entry {
        let info = self.info();
        let registers = match (tiling, self) {
            (Tiling::Registers, Self::GatherForward) => "gather_forward_registers",
            (Tiling::Registers, Self::DenseForward) => "dense_forward_registers",
            (Tiling::Registers, Self::DenseBackward) => "dense_backward_registers",
            (Tiling::Registers, Self::DenseGradient) => "dense_gradient_registers",
            (Tiling::Registers, Self::DenseUpdate) => "dense_update_registers",
            _ => return Entry { name: info.name, file: info.file, workgroup: info.workgroup },
        };
        Entry { name: registers, file: "dense_registers.wgsl", workgroup: [8, 1, 1] }
    }

    /// The numbers that a shader is specialised with (its `override`s) for these parameters: how much one invocation or workgroup
    /// does, and with it in which order sums are added up.
    #[must_use]
    pub fn constants(self, p: &Params, tiling: Tiling, lanes: u32) -> Vec<(&'static str, u32)> {
        let mut constants = self.tile(p, tiling).map_or_else(Vec::new, Tile::constants);
        match self {
            Self::Persistent => {
                constants.extend([("LANES", lanes), ("HELD", held(p.rows)), ("COST", p.cost), ("RULE", p.rule)]);
            }
            Self::OutputError | Self::OutputLayer => {
                let lanes = u32::try_from(self.lanes_of_a_row(tiling)).unwrap_or(u32::MAX);
                constants.extend([("ACTIVATION", p.activation), ("COST", p.cost), ("LANES", lanes)]);
            }
            Self::GatherForward | Self::DenseForward | Self::DenseBackward => {
                constants.push(("ACTIVATION", p.activation));
            }
            Self::DenseUpdate => constants.push(("RULE", p.rule)),
            _ => (),
        }
        constants
    }

    /// Invocations that share a row of the output. A software adapter runs eight at once, and more only wait for one another.
    const fn lanes_of_a_row(self, tiling: Tiling) -> u64 {
        match tiling {
            Tiling::Workgroup { .. } => LANES,
            Tiling::Registers => 8,
        }
    }

    /// Bytes of workgroup memory that the entry point has.
    #[must_use]
    pub const fn workgroup_bytes(self, tiling: Tiling) -> u32 {
        match (self, tiling) {
            (Self::GatherForward | Self::DenseForward | Self::DenseBackward, Tiling::Workgroup { .. }) => 8192,
            (Self::DenseGradient | Self::DenseUpdate, Tiling::Workgroup { .. }) => MOST_WORKGROUP_BYTES,
            (Self::DenseGradient | Self::DenseUpdate, Tiling::Registers) => 64,
            (Self::MatmulNt | Self::MatmulNn | Self::OuterProducts | Self::Residuals, _) => 512,
            (Self::Softmax | Self::CostValue | Self::Tally | Self::ClipGradients | Self::MaxNorm, _) => 256,
            (Self::GradientSquares, _) => 256,
            (Self::CountRight | Self::Answers, _) => 768,
            (Self::OutputError, _) => 1024,
            (Self::OutputLayer, _) => 3840,
            (Self::Persistent, _) => 8,
            _ => 0,
        }
    }
}

/// How many quads of four rows a lane of the persistent kernel holds in registers: of 1 to 4, the one that has the least padding
/// in a batch of this many rows, the larger of equals.
pub(crate) const fn held(rows: u32) -> u32 {
    let quads = rows.div_ceil(4);
    let mut best = 1;
    let mut held = 2;
    while held <= 4 {
        // One at a time reads each weight most often: it is taken only where it is the only quad.
        if quads > 1 && (best == 1 || quads.next_multiple_of(held) <= quads.next_multiple_of(best)) {
            best = held;
        }
        held += 1;
    }
    best
}

/// The shader files and their texts.
pub const SHADERS: &[(&str, &str)] = &[
    ("data.wgsl", include_str!("../shaders/data.wgsl")),
    ("matmul.wgsl", include_str!("../shaders/matmul.wgsl")),
    ("activation.wgsl", include_str!("../shaders/activation.wgsl")),
    ("cost.wgsl", include_str!("../shaders/cost.wgsl")),
    ("metrics.wgsl", include_str!("../shaders/metrics.wgsl")),
    ("update.wgsl", include_str!("../shaders/update.wgsl")),
    ("dense.wgsl", include_str!("../shaders/dense.wgsl")),
    ("output_error.wgsl", include_str!("../shaders/output_error.wgsl")),
    ("output_layer.wgsl", include_str!("../shaders/output_layer.wgsl")),
    ("dense_registers.wgsl", include_str!("../shaders/dense_registers.wgsl")),
    ("dropout.wgsl", include_str!("../shaders/dropout.wgsl")),
    ("persistent.wgsl", include_str!("../shaders/persistent.wgsl")),
];
