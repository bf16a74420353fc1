//! Compares what a scenario expects of its outputs with their values.

use serde::Serialize;

use super::number::Number;
use super::outputs::{Incomplete, Outputs};
use crate::scenario::{Counted, Expectation, ExpectedValue, Scenario};

/// An expectation, and whether it holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExpectationResult {
    /// The group's name; empty for the whole run.
    pub group: String,
    /// The output's name, or what is counted.
    pub output: String,
    /// The expectation, in words.
    pub expected: String,
    /// Value of the output; `None` if no number was recorded, or it isn't known.
    pub value: Option<Number>,
    /// Whether the summary had no room for some value of it. Then the sum isn't known, and the expectation isn't met.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub incomplete: bool,
    /// Whether it holds. In a run that ended early, whether it holds so far.
    pub met: bool,
    /// Whether it counts: a run that ended before the scenario's last frame fails no expectation, and meets none.
    pub due: bool,
    /// Line of the scenario.
    pub line: usize,
}

/// Checks each expectation against the outputs, or against the count that `count` returns.
pub(super) fn check(
    scenario: &Scenario,
    outputs: &Outputs,
    count: &dyn Fn(&Expectation, Counted) -> u64,
    due: bool,
) -> Vec<ExpectationResult> {
    let result = |expectation: &Expectation| {
        let known = match (expectation.count, expectation.group) {
            (Some(counted), _) => Ok(Some(Number::Whole(count(expectation, counted).into()))),
            (None, Some(group)) => outputs.sum(group, &expectation.output),
            (None, None) => Ok(None),
        };
        let incomplete = known.is_err();
        let value = known.unwrap_or_default();
        let (met, expected) = held(expectation, value, outputs);
        ExpectationResult {
            group: expectation
                .group
                .and_then(|group| scenario.group(group))
                .map(|group| group.name.clone())
                .unwrap_or_default(),
            output: expectation.output.clone(),
            expected,
            value,
            incomplete,
            met,
            due,
            line: expectation.line,
        }
    };
    scenario.expect.iter().map(result).collect()
}

#[expect(clippy::float_cmp, reason = "`equals` means equal: runs are bit-exact")]
fn held(expectation: &Expectation, value: Option<Number>, outputs: &Outputs) -> (bool, String) {
    let holds = |test: &dyn Fn(f64) -> bool| value.is_some_and(|value| test(value.as_f64()));
    // In the same form as the value beside it.
    let shown = |number: f64| Number::Float(number).to_string();
    match &expectation.value {
        ExpectedValue::Equals(number) => (holds(&|value| value == *number), format!("equals {}", shown(*number))),
        ExpectedValue::AtLeast(number) => (holds(&|value| value >= *number), format!("is at least {}", shown(*number))),
        ExpectedValue::AtMost(number) => (holds(&|value| value <= *number), format!("is at most {}", shown(*number))),
        ExpectedValue::EqualsOutput(name) => {
            let other = expectation.group.map_or(Ok(None), |group| outputs.sum(group, name));
            let met = match (value, &other) {
                (Some(Number::Whole(a)), Ok(Some(Number::Whole(b)))) => a == *b,
                (Some(a), Ok(Some(b))) => a.as_f64() == b.as_f64(),
                _ => false,
            };
            let shown = match other {
                Ok(Some(other)) => other.to_string(),
                Ok(None) => "not recorded".to_owned(),
                Err(Incomplete) => "not known, a summary has no room for all values of it".to_owned(),
            };
            (met, format!("equals {name} ({shown})"))
        }
    }
}
