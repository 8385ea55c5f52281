//! Small charts of one line: a block character for each value, as high as the value is in relation to the greatest one.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The character for zero, and for a missing value.
const EMPTY: (char, char) = ('·', ' ');

/// The chart of the values. Zero is a dot, and a missing value is a blank.
pub(crate) fn sparkline(values: impl IntoIterator<Item = Option<u64>> + Clone) -> String {
    let max = values.clone().into_iter().flatten().max().unwrap_or(0);
    let block = |value: u64| {
        // Every value but zero has a block.
        let level = (u128::from(value) * BLOCKS.len() as u128).div_ceil(u128::from(max)).saturating_sub(1);
        usize::try_from(level).ok().and_then(|level| BLOCKS.get(level)).copied().unwrap_or('█')
    };
    let character = |value: Option<u64>| match value {
        None => EMPTY.1,
        Some(0) => EMPTY.0,
        Some(value) => block(value),
    };
    values.into_iter().map(character).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_a_block_of_its_height() {
        assert_eq!(sparkline((0..=8).map(Some)), "·▁▂▃▄▅▆▇█");
        assert_eq!(sparkline([Some(1), None, Some(1_000_000), Some(0), None]), "▁ █·");
        assert_eq!(sparkline([Some(u64::MAX), Some(1)]), "█▁");
        assert_eq!(sparkline([Some(0), Some(0)]), "··");
        assert_eq!(sparkline([]), "");
    }
}
