//! Which limits a device is asked for: all that its adapter has, or fewer.

use crate::error::{Error, Result};

/// The environment variable that lowers the limits of every device made here.
const VARIABLE: &str = "WGRAD_LIMITS";

/// What the variable may be.
const KNOWN: &str = "full, default, tiny";

/// The limits that the environment asks for; `None` for all that the adapter has.
///
/// # Errors
/// [`Error::UnknownName`].
pub(crate) fn asked() -> Result<Option<wgpu::Limits>> {
    match std::env::var(VARIABLE) {
        Ok(word) => named(&word),
        Err(_) => Ok(None),
    }
}

/// The limits that a word names: `full`, `default` (what WebGPU promises of every device), or `tiny` (less than any device has, to
/// see that everything is split that can be).
fn named(word: &str) -> Result<Option<wgpu::Limits>> {
    match word.trim().to_lowercase().as_str() {
        "" | "full" => Ok(None),
        "default" => Ok(Some(wgpu::Limits::default())),
        "tiny" => Ok(Some(wgpu::Limits {
            max_compute_invocations_per_workgroup: 64,
            max_compute_workgroup_size_x: 64,
            max_compute_workgroup_size_y: 64,
            max_compute_workgroup_storage_size: 8 << 10,
            max_compute_workgroups_per_dimension: 3,
            max_storage_buffers_per_shader_stage: 4,
            ..wgpu::Limits::default()
        })),
        _ => Err(Error::UnknownName { what: "limits (WGRAD_LIMITS)", word: word.to_owned(), known: KNOWN.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_limits() {
        assert!(matches!((named(""), named(" Full ")), (Ok(None), Ok(None))));
        let default = named("default").ok().flatten();
        assert_eq!(default, Some(wgpu::Limits::default()));
        let tiny = named("tiny").ok().flatten();
        assert!(tiny.is_some_and(|tiny| tiny.max_compute_workgroups_per_dimension == 3));
        assert!(matches!(named("small"), Err(Error::UnknownName { word, .. }) if word == "small"));
    }
}
