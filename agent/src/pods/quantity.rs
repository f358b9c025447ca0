//! A pod's quantities (`100m`, `1Gi`, `1.5e3`) as whole numbers, rounded up as upstream does.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// In thousandths: what CPU is counted in. None for what is no quantity, or too large to bound anything.
pub fn milli(quantity: &Quantity) -> Option<i64> {
    in_unit(quantity, api::quantity::Quantity::millis)
}

/// In ones: bytes, counts. None as above.
pub fn whole(quantity: &Quantity) -> Option<i64> {
    in_unit(quantity, api::quantity::Quantity::units)
}

fn in_unit(quantity: &Quantity, unit: fn(api::quantity::Quantity) -> i64) -> Option<i64> {
    let amount = unit(api::quantity::Quantity::parse(&quantity.0).ok()?);
    (amount < i64::MAX).then_some(amount)
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
