//! Numbers as people write and read them: bytes (`25MB`) and durations (`10s`).
use std::{fmt, str::FromStr, time::Duration};

/// Upper bound on a duration: a year.
const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// A number of bytes, written as `25MB`, `1GiB` or `1048576`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HumanBytes(pub u64);

impl FromStr for HumanBytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let split = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" => 1_000,
            "m" | "mb" => 1_000_000,
            "g" | "gb" => 1_000_000_000,
            "t" | "tb" => 1_000_000_000_000,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            "tib" => 1 << 40,
            other => return Err(format!("unknown unit {other:?}; write 25MB, 512MiB or 2GB")),
        };
        let number: f64 = number
            .parse()
            .map_err(|_| format!("{text:?} is not a size; write 25MB, 512MiB or 2GB"))?;
        Ok(Self((number * factor as f64) as u64))
    }
}

impl fmt::Display for HumanBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 1_000_000_000 => write!(f, "{:.1} GB", bytes as f64 / 1e9),
            bytes if bytes >= 1_000_000 => write!(f, "{:.1} MB", bytes as f64 / 1e6),
            bytes if bytes >= 1_000 => write!(f, "{:.1} kB", bytes as f64 / 1e3),
            bytes => write!(f, "{bytes} B"),
        }
    }
}

/// A duration, written as `500ms`, `10s`, `5m` or `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HumanDuration(pub Duration);

impl FromStr for HumanDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a duration; write 500ms, 10s, 5m or 1h");
        let split = text.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, unit) = text.split_at(split.unwrap_or(text.len()));
        let seconds = match unit.trim() {
            "ms" => 1e-3,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(bad()),
        };
        let number: f64 = number.parse().map_err(|_| bad())?;
        let length = Duration::try_from_secs_f64(number * seconds).map_err(|_| bad())?;
        if length > DURATION_MAX {
            return Err(format!("{text:?} is longer than a year"));
        }
        Ok(Self(length))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("1.5 s", 1500),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ] {
            let expected = HumanDuration(Duration::from_millis(milliseconds));
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in ["10", "s", "-1s", "1 parsec", "", "9000h"] {
            assert!(text.parse::<HumanDuration>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("25MB", 25_000_000),
            ("1GiB", 1 << 30),
            ("512 mb", 512_000_000),
            ("7", 7),
            ("1.5k", 1500),
        ] {
            assert_eq!(text.parse(), Ok(HumanBytes(bytes)), "{text}");
        }
        let unknown = "25 parsecs".parse::<HumanBytes>().unwrap_err();
        assert!(unknown.contains("parsecs"));
        assert!("MB".parse::<HumanBytes>().is_err());
    }
}
