//! Amounts of money: decimal numbers of US dollars as millionths of a dollar.

/// Largest cost in US dollars that is believed.
const DOLLARS_MAX: f64 = 1e9;

/// A cost in millionths of a US dollar; `None` for a number that is not a cost.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the number is from 0 to 1e15")]
pub(crate) fn micros(dollars: Option<f64>) -> Option<u64> {
    let dollars = dollars?;
    (0.0..=DOLLARS_MAX).contains(&dollars).then(|| (dollars * 1e6).round() as u64)
}

/// A part from 0 to 1 in percent, 100 at most; `None` for a number that is not a part.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the number is from 0 to 100")]
pub(crate) fn percent(part: Option<f64>) -> Option<u8> {
    let percent = part? * 100.0;
    (percent >= 0.0).then(|| percent.min(100.0).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_a_number_of_dollars() {
        assert_eq!(micros(Some(0.020_640_000_000_000_002)), Some(20_640));
        assert_eq!(micros(Some(0.0)), Some(0));
        for wrong in [-0.1, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(micros(Some(wrong)), None);
        }
        assert_eq!(percent(Some(0.93)), Some(93));
        assert_eq!(percent(Some(7.0)), Some(100));
        assert_eq!(percent(Some(f64::NAN)), None);
    }
}
