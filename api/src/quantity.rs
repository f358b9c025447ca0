//! Quantities such as `500m`, `1Gi`, `1e3`: parsed exactly, compared, and written in upstream's canonical form
//! (apimachinery `resource.Quantity`).

use std::{cmp::Ordering, fmt};

/// How a quantity was written and will be written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Powers of 1024: `Ki`, `Mi`, …
    BinarySi,
    /// Powers of 1000: `m`, `k`, `M`, …
    DecimalSi,
    /// `e3`.
    DecimalExponent,
}

/// A number with its format. The finest part is a billionth (`n`); finer is rounded up, as upstream does.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    /// In billionths.
    nano: i128,
    format: Format,
}

/// What is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Neither number nor suffix.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Form,
    /// An unknown suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

const NANO: i128 = 1_000_000_000;
/// Upstream caps at 2^63 - 1 in magnitude.
const MAX: i128 = i64::MAX as i128 * NANO;
const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

impl Quantity {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = unsigned
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() + fraction.len() == 0 || fraction.contains('.') {
            return Err(QuantityError::Form);
        }
        let (multiply, shift, format) = scale(suffix)?;
        let nano = billionths(whole, fraction, multiply, shift).min(MAX);
        Ok(Self {
            nano: if text.starts_with('-') { -nano } else { nano },
            format,
        })
    }

    /// Reads text or a number; none where it is neither or no quantity.
    pub fn of(value: &serde_json::Value) -> Option<Self> {
        match value {
            serde_json::Value::String(text) => Self::parse(text).ok(),
            serde_json::Value::Number(number) => Self::parse(&number.to_string()).ok(),
            _ => None,
        }
    }

    /// The value in thousandths, rounded up: millicores.
    pub fn millis(self) -> i64 {
        self.rounded_up(NANO / 1000)
    }

    /// The value in ones, rounded up: bytes.
    pub fn units(self) -> i64 {
        self.rounded_up(NANO)
    }

    fn rounded_up(self, part: i128) -> i64 {
        let whole = self.nano.div_euclid(part) + i128::from(self.nano.rem_euclid(part) != 0);
        whole.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    /// So many ones.
    pub const fn whole(ones: i64) -> Self {
        Self {
            nano: ones as i128 * NANO,
            format: Format::DecimalSi,
        }
    }

    /// Whether it is 0.
    pub fn is_zero(self) -> bool {
        self.nano == 0
    }

    /// Whether it is below 0.
    pub fn is_negative(self) -> bool {
        self.nano < 0
    }
}

/// A suffix as a factor, a power of ten and a format.
fn scale(suffix: &str) -> Result<(i128, i32, Format), QuantityError> {
    if let Some((_, power)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        return Ok((1, *power, Format::DecimalSi));
    }
    if let Some((_, bits)) = BINARY.iter().find(|(s, _)| *s == suffix) {
        return Ok((1 << bits, 0, Format::BinarySi));
    }
    match suffix.strip_prefix(['e', 'E']) {
        Some(exponent) => exponent
            .parse()
            .map(|power| (1, power, Format::DecimalExponent))
            .map_err(|_| QuantityError::Suffix),
        None if suffix.bytes().all(|b| b"eEinumkKMGTP+-0123456789".contains(&b)) => Err(QuantityError::Suffix),
        None => Err(QuantityError::Form),
    }
}

/// `whole.fraction × multiply × 10^shift` in billionths, rounded up, capped.
fn billionths(whole: &str, fraction: &str, multiply: i128, shift: i32) -> i128 {
    let digits = whole
        .bytes()
        .chain(fraction.bytes())
        .map(|digit| i128::from(digit - b'0'));
    let digits: Vec<i128> = digits.skip_while(|digit| *digit == 0).collect();
    if digits.is_empty() {
        return 0;
    }
    let power = shift
        .saturating_add(9)
        .saturating_sub(i32::try_from(fraction.len()).unwrap_or(i32::MAX));
    // So many of the digits lie below a billionth, until they are multiplied.
    let below = power.min(0).unsigned_abs() as usize;
    let (above, fine) = digits.split_at(digits.len().saturating_sub(below));
    let mut value = above.iter().fold(0_i128, |sum, digit| {
        sum.saturating_mul(10).saturating_add(digit * multiply)
    });
    for _ in 0..power {
        if value >= MAX {
            break;
        }
        value = value.saturating_mul(10);
    }
    // What is carried stays below `multiply`, so that forty zeros more leave nothing of it.
    let zeros = std::iter::repeat_n(0, (below - fine.len()).min(40));
    let (mut carried, mut inexact) = (0_i128, false);
    for digit in fine.iter().rev().copied().chain(zeros) {
        let sum = carried + digit * multiply;
        inexact |= sum % 10 != 0;
        carried = sum / 10;
    }
    value.saturating_add(carried + i128::from(inexact))
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl std::ops::Add for Quantity {
    type Output = Self;

    /// Written as the first one, or as the second where the first is 0.
    fn add(self, other: Self) -> Self {
        Self {
            nano: (self.nano + other.nano).clamp(-MAX, MAX),
            format: if self.nano == 0 { other.format } else { self.format },
        }
    }
}

impl std::ops::Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        let negative = Self {
            nano: -other.nano,
            ..other
        };
        self + negative
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

/// The canonical form: no fraction, the largest suffix that leaves none.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        if self.format == Format::BinarySi && self.nano % NANO == 0 && self.nano.abs() >= 1024 * NANO {
            let ones = self.nano / NANO;
            let (suffix, bits) = BINARY
                .iter()
                .rev()
                .find(|(_, bits)| ones % (1 << bits) == 0)
                .copied()
                .unwrap_or(("", 0));
            return write!(f, "{}{suffix}", ones >> bits);
        }
        let fits = |power: i32| self.nano % 10_i128.pow((power + 9).unsigned_abs()) == 0;
        let (suffix, power) = DECIMAL
            .iter()
            .rev()
            .find(|(_, power)| fits(*power))
            .copied()
            .unwrap_or(("n", -9));
        let mantissa = self.nano / 10_i128.pow((power + 9).unsigned_abs());
        match self.format {
            Format::DecimalExponent if power != 0 => write!(f, "{mantissa}e{power}"),
            Format::DecimalExponent => write!(f, "{mantissa}"),
            Format::BinarySi | Format::DecimalSi => write!(f, "{mantissa}{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_as_upstream_writes_them() {
        for (text, canonical) in [
            ("0", "0"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1.5", "1500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1024", "1024"),
            ("1000", "1k"),
            ("1500", "1500"),
            ("128Mi", "128Mi"),
            ("1Ki", "1Ki"),
            ("0.5Ki", "512"),
            ("100k", "100k"),
            ("1e3", "1e3"),
            ("1E6", "1e6"),
            ("12e5", "1200e3"),
            ("-5", "-5"),
            ("+5", "5"),
            (".5", "500m"),
            ("5.", "5"),
            ("1.0", "1"),
            ("0.000000001", "1n"),
            ("0.0000000001", "1n"),
            ("100u", "100u"),
            ("9223372036854775807", "9223372036854775807"),
            ("99999999999999999999", "9223372036854775807"),
            ("5.991Ei", "6907152734099620233216m"),
            ("6907152734099620233216m", "6907152734099620233216m"),
            ("1.0000000000000000000000000000001", "1000000001n"),
            ("9223372036854775806.999999999", "9223372036854775806999999999n"),
            ("0.0000000000000000000000000000000000001Ki", "1n"),
            ("1e-2000000000", "1e-9"),
            ("1e2000000000", "9223372036854775807"),
        ] {
            assert_eq!(
                Quantity::parse(text).map(|q| q.to_string()),
                Ok(canonical.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "x", "1.2.3", "1 Gi", "--1", "1Zi", "."] {
            assert!(Quantity::parse(text).is_err(), "{text}");
        }
        assert_eq!(Quantity::parse("1ki"), Err(QuantityError::Suffix));
    }

    #[test]
    fn sums_are_written_as_their_first_part() {
        let q = |text| Quantity::parse(text).expect("the case is a quantity");
        for (a, b, sum, difference) in [
            ("1", "500m", "1500m", "500m"),
            ("0", "64Mi", "64Mi", "-64Mi"),
            ("1Gi", "1Gi", "2Gi", "0"),
            ("1Gi", "1024", "1048577Ki", "1048575Ki"),
        ] {
            assert_eq!(
                ((q(a) + q(b)).to_string(), (q(a) - q(b)).to_string()),
                (sum.to_owned(), difference.to_owned())
            );
        }
        assert_eq!(Quantity::whole(3).to_string(), "3");
    }

    #[test]
    fn sizes_compare_and_round_up() {
        let q = |text| Quantity::parse(text).expect("the case is a quantity");
        assert!(q("1Gi") > q("1G") && q("1000m") == q("1") && q("2") > q("1999m"));
        assert_eq!(
            (
                q("1500u").millis(),
                q("100m").units(),
                q("1Gi").units(),
                q("-1500m").units()
            ),
            (2, 1, 1 << 30, -1)
        );
    }
}
