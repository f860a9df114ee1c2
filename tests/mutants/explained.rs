//! Mutants that the self-check lets through, each with the reason why. "No fault" is only said where the mutant computes the same on every
//! device, with run-time checks and without.

/// File, operator, part of the line as it is with the fault, and why nothing shows.
const EXPLAINED: &[(&str, &str, &str, &str)] = &[
    (
        "matmul.wgsl",
        "< to <=",
        "i <= p.inputs && k0 + local.y",
        "no fault: it loads one more column into the tile, for a column of the result that is not stored",
    ),
    (
        "cost.wgsl",
        "< to <=",
        "lane <= half",
        "no wrong number: one lane more takes the better of two elements of the same row; in rows of more than 64 outputs it reads past the \
         end of `best_a`, which run-time checks prevent",
    ),
    (
        "cost.wgsl",
        "number doubled",
        "let series",
        "no fault: the last term of the series is below the rounding of an f32 where it is largest, at e = 1",
    ),
    (
        "metrics.wgsl",
        "== to !=",
        "if (lane != 0u) {",
        "no fault: all lanes have the same three numbers, so that it is the same whoever writes them",
    ),
    (
        "dense.wgsl",
        "- to +",
        "p.k_end + 1u) * p.inputs",
        "no wrong number: what is loaded past the end is not used, and run-time checks keep the load inside the buffer",
    ),
    (
        "dense.wgsl",
        "< to <=",
        "n <= DEPTH * SIDE * COLUMN_QUADS",
        "a race: lane 0 stores one quad too many, past the end of the tile, which run-time checks turn into its last; where lanes go round \
         the loop together that spoils term 15, but this adapter has lanes 0 to 7 go round it before the others, which store what is right",
    ),
    ("output_error.wgsl", "< to <=", "lane <= half", "no wrong number: as in `cost.wgsl`"),
    ("output_error.wgsl", "min to max", "exp_m1(max(z, 0.0))", "no fault: this shader has `f`, but does not use it"),
    (
        "output_layer.wgsl",
        "barrier removed",
        "",
        "eight invocations share a row here, which this adapter runs as one vector, in step: there a barrier does nothing. With 64 lanes \
         what is read too early is what the row before left there, each lane's own place, which is the same in every row",
    ),
    ("output_layer.wgsl", "< to <=", "qa <= pa", "no fault: two lanes never hold the same element"),
    (
        "dense_registers.wgsl",
        "- to +",
        "let last = count + 1u;",
        "no wrong number: two columns past the last are loaded for results that are not stored, and run-time checks keep the loads inside \
         the buffer",
    ),
    (
        "dense_registers.wgsl",
        ">= to >",
        "origin.x > p.rows",
        "no fault: a tile that begins where the rows end stores nothing but what another stores too",
    ),
    (
        "dense_registers.wgsl",
        "barrier removed",
        "",
        "eight invocations a workgroup, which this adapter runs as one vector, in step: there a barrier does nothing",
    ),
    (
        "persistent.wgsl",
        "< to <=",
        "o <= at.outputs; o++) { work[at.a",
        "no fault as memory is laid out: past the last activation lies the error, which is written before it is read",
    ),
];

/// Which of the explanations this survivor has.
fn place(file: &str, operator: &str, now: &str) -> Option<usize> {
    EXPLAINED.iter().position(|(f, o, part, _)| *f == file && *o == operator && now.contains(part))
}

/// Why this mutant survives, if that is known.
pub fn of(file: &str, operator: &str, now: &str) -> Option<&'static str> {
    place(file, operator, now).map(|place| EXPLAINED[place].3)
}

/// The explanations that none of these survivors has: the mutant is caught, or made no more.
pub fn stale(survivors: &[[String; 3]]) -> Vec<&'static str> {
    let used: Vec<_> = survivors.iter().filter_map(|[file, operator, now]| place(file, operator, now)).collect();
    (0..).zip(EXPLAINED).filter(|(at, _)| !used.contains(at)).map(|(_, (.., why))| *why).collect()
}
