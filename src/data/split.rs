//! Rows dealt into parts by a seed: training, validation, test.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::random;

/// Sets the orders of splits apart from those of epochs, which are numbered from 0, and from what is drawn with `u64::MAX`.
const SPLIT: u64 = 1 << 63;

/// The rows `0..len` in a random order, cut into parts with these shares.
pub(super) fn plain(len: usize, shares: &[f64], seed: u64) -> Result<Vec<Vec<u32>>> {
    stratified(&vec![0; len], shares, seed, false)
}

/// As [`plain`], with the rows of each class shared out in the same proportion, to less than one row. With `all_in_first` the
/// first part has a row of every class, however few there are. Within a part the rows come in a random order.
pub(super) fn stratified(classes: &[u32], shares: &[f64], seed: u64, all_in_first: bool) -> Result<Vec<Vec<u32>>> {
    let shares = checked(shares)?;
    let len = u32::try_from(classes.len()).map_err(|_| Error::InvalidOption {
        option: "rows to split",
        value: classes.len().to_string(),
        want: "at most 4294967295",
    })?;
    let mut members: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for row in random::permutation(&mut random::generator(seed, SPLIT), len) {
        members.entry(classes[row as usize]).or_default().push(row);
    }
    // Small classes first: what they cannot share out evenly, the large ones make good.
    let mut members: Vec<_> = members.into_values().collect();
    members.sort_by_key(Vec::len);

    let mut parts = vec![Vec::new(); shares.len()];
    let mut due = vec![0.0; shares.len()];
    for rows in members {
        let taken = apportion(rows.len(), &shares, &mut due, &parts, all_in_first);
        let mut rows = rows.into_iter();
        for (part, taken) in parts.iter_mut().zip(taken) {
            part.extend(rows.by_ref().take(taken));
        }
    }
    for (index, part) in parts.iter_mut().enumerate() {
        if part.is_empty() {
            return Err(Error::Empty { what: format!("part {} of a split of {len} rows", index + 1) });
        }
        // Class after class so far.
        let at = u32::try_from(part.len()).unwrap_or(u32::MAX);
        let order = random::permutation(&mut random::generator(seed, SPLIT + 1 + index as u64), at);
        *part = order.into_iter().map(|at| part[at as usize]).collect();
    }
    Ok(parts)
}

/// How many rows of a class each part takes: the whole part of its share, and then one more for the parts that lack most over
/// all classes so far; with `all_in_first` the first part comes before these if it has none.
fn apportion(rows: usize, shares: &[f64], due: &mut [f64], parts: &[Vec<u32>], all_in_first: bool) -> Vec<usize> {
    // A share of 0.2 is a little less than a fifth, or more.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to rows")]
    let mut taken: Vec<usize> = shares.iter().map(|share| (share * count(rows) + 1e-9) as usize).collect();
    for (due, share) in due.iter_mut().zip(shares) {
        *due += share * count(rows);
    }
    let mut more = vec![true; shares.len()];
    while taken.iter().sum::<usize>() < rows {
        let lack = |part: usize| {
            let lack = due[part] - count(parts[part].len() + taken[part]);
            if more[part] { lack } else { f64::NEG_INFINITY }
        };
        let part = if all_in_first && taken[0] == 0 { 0 } else { largest(shares.len(), lack) };
        taken[part] += 1;
        more[part] = false;
    }
    taken
}

#[allow(clippy::cast_precision_loss, reason = "rows have 32-bit numbers")]
const fn count(rows: usize) -> f64 {
    rows as f64
}

/// The first index from 0 with the largest value.
fn largest(len: usize, value: impl Fn(usize) -> f64) -> usize {
    (1..len).fold(0, |best, at| if value(at) > value(best) { at } else { best })
}

/// The shares, with a sum of 1.
fn checked(shares: &[f64]) -> Result<Vec<f64>> {
    if shares.is_empty() {
        return Err(Error::Empty { what: "the list of shares".to_owned() });
    }
    match shares.iter().find(|share| !(share.is_finite() && **share > 0.0)) {
        Some(share) => Err(Error::InvalidOption { option: "share", value: share.to_string(), want: "above 0" }),
        None => {
            // Of the largest numbers the sum would be infinite.
            let unit = if shares.iter().sum::<f64>().is_finite() { 1.0 } else { f64::MAX };
            let sum: f64 = shares.iter().map(|share| share / unit).sum();
            Ok(shares.iter().map(|share| share / unit / sum).collect())
        }
    }
}
