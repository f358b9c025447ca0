//! Kubernetes quantities (`100m`, `1Gi`, `1.5e3`) as whole numbers, rounded up as upstream does.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// In thousandths: what CPU is counted in. None for what is no quantity.
pub fn milli(quantity: &Quantity) -> Option<i64> {
    scaled(&quantity.0, 1000)
}

/// In ones: bytes, counts.
pub fn whole(quantity: &Quantity) -> Option<i64> {
    scaled(&quantity.0, 1)
}

/// `text` times `factor`, rounded up; exact for every quantity that the API server admits.
fn scaled(text: &str, factor: i128) -> Option<i64> {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit() && !"+-.".contains(c))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let (numerator, denominator) = suffix_value(suffix)?;
    let (digits, places) = match number.split_once('.') {
        Some((whole, fraction)) => (format!("{whole}{fraction}"), fraction.len()),
        None => (number.to_owned(), 0),
    };
    let mantissa: i128 = digits.parse().ok()?;
    let divisor = 10_i128
        .checked_pow(u32::try_from(places).ok()?)?
        .checked_mul(denominator)?;
    let product = mantissa.checked_mul(numerator)?.checked_mul(factor)?;
    let up = i128::from(product % divisor > 0);
    i64::try_from(product / divisor + up).ok()
}

fn suffix_value(suffix: &str) -> Option<(i128, i128)> {
    let binary = |power: u32| Some((1024_i128.pow(power), 1));
    let decimal = |power: u32| Some((1000_i128.pow(power), 1));
    match suffix {
        "" => Some((1, 1)),
        "n" => Some((1, 1_000_000_000)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1000)),
        "k" => decimal(1),
        "M" => decimal(2),
        "G" => decimal(3),
        "T" => decimal(4),
        "P" => decimal(5),
        "E" => decimal(6),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => exponent(suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    }
}

fn exponent(power: i32) -> Option<(i128, i128)> {
    let size = 10_i128.checked_pow(power.unsigned_abs())?;
    Some(if power < 0 { (1, size) } else { (size, 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_rounded_up_to_the_unit_asked_for() {
        let cases = [
            ("1", Some(1000), Some(1)),
            ("100m", Some(100), Some(1)),
            ("1.5", Some(1500), Some(2)),
            ("0.0001", Some(1), Some(1)),
            ("64Mi", Some(67_108_864_000), Some(67_108_864)),
            ("1e3", Some(1_000_000), Some(1000)),
            (
                "1E",
                Some(1_000_000_000_000_000_000_000_i128),
                Some(1_000_000_000_000_000_000),
            ),
            ("2k", Some(2_000_000), Some(2000)),
            ("-5", Some(-5000), Some(-5)),
            ("", None, None),
            ("five", None, None),
            ("1x", None, None),
        ]
        .map(|(text, milli, whole): (&str, Option<i128>, Option<i64>)| (text, milli, whole));
        for (text, thousandths, ones) in cases {
            let quantity = Quantity(text.to_owned());
            let thousandths = thousandths.and_then(|value| i64::try_from(value).ok());
            assert_eq!((milli(&quantity), whole(&quantity)), (thousandths, ones), "{text}");
        }
    }
}
