//! Bounds of what agents write for the run's tables, log lines and named outputs: the size of each in bytes, and the rows for which a budget has no
//! room.

use serde::{Deserialize, Serialize};

use crate::GroupId;
use crate::limits::TABLE_ROW_BYTES;

/// A table of the run to which agents write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RunTable {
    /// Log lines.
    Logs,
    /// Named outputs.
    Outputs,
}

/// A budget that had no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TableBudget {
    /// Bytes of one step.
    Step,
    /// Bytes of the whole group in one frame.
    Group,
    /// Log lines of the whole group in one frame.
    GroupLines,
    /// Bytes of the group's tenant in one frame.
    Tenant,
    /// Bytes of all groups in one frame, beyond the group's own part.
    Run,
}

impl TableBudget {
    /// Returns its key in a scenario: in `limits` of a group, in a tenant, or in `[scheduler]`.
    pub const fn key(self, table: RunTable) -> &'static str {
        match (self, table) {
            (Self::Step, RunTable::Logs) => "log_bytes_per_step_max",
            (Self::Step, RunTable::Outputs) => "output_bytes_per_step_max",
            (Self::GroupLines, _) => "log_lines_per_frame_max",
            (Self::Group | Self::Tenant | Self::Run, RunTable::Logs) => "log_bytes_per_frame_max",
            (Self::Group | Self::Tenant | Self::Run, RunTable::Outputs) => "output_bytes_per_frame_max",
        }
    }
}

/// Rows of one table that aren't kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unkept {
    /// Number of rows.
    pub rows: u64,
    /// Number of bytes that they count for.
    pub bytes: u64,
    /// The budget that had no room for the first of them.
    pub budget: Option<TableBudget>,
}

impl Unkept {
    /// Notes a row.
    pub const fn add(&mut self, bytes: u64, budget: TableBudget) {
        self.append(&Self { rows: 1, bytes, budget: Some(budget) });
    }

    /// Notes the rows that came after these.
    pub const fn append(&mut self, later: &Self) {
        self.rows += later.rows;
        self.bytes = self.bytes.saturating_add(later.bytes);
        if self.budget.is_none() {
            self.budget = later.budget;
        }
    }
}

/// Rows of a group's agents in one frame that aren't kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excess {
    /// The group.
    pub group: GroupId,
    /// Its log lines.
    pub logs: Unkept,
    /// Its outputs.
    pub outputs: Unkept,
}

impl Excess {
    /// Returns the excess of a group of which everything was kept.
    pub fn of(group: GroupId) -> Self {
        Self { group, logs: Unkept::default(), outputs: Unkept::default() }
    }

    /// Returns the rows of one table that weren't kept.
    pub const fn of_table(&mut self, table: RunTable) -> &mut Unkept {
        match table {
            RunTable::Logs => &mut self.logs,
            RunTable::Outputs => &mut self.outputs,
        }
    }

    /// Returns whether everything was kept.
    pub const fn is_empty(&self) -> bool {
        self.logs.rows == 0 && self.outputs.rows == 0
    }
}

/// Size in JSON of a character beyond ASCII, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeyondAscii {
    /// As many as it has in UTF-8, as which most characters are written.
    AsItIs,
    /// Three times as many, which is enough for a character that is written as its number because nobody would see it.
    ByNumber,
}

/// Returns how many bytes a text takes in JSON, without the quotes around it: exactly, but for characters beyond ASCII, which are counted as
/// `beyond_ascii` says. It doesn't decode them, because it is called for everything that agents write, kept or not.
pub fn json_text_bytes(text: &[u8], beyond_ascii: BeyondAscii) -> u64 {
    let beyond = match beyond_ascii {
        BeyondAscii::AsItIs => 1,
        BeyondAscii::ByNumber => 3,
    };
    let escaped = |&byte: &u8| match byte {
        b'"' | b'\\' => 2_u64,
        0..0x20 | 0x7f => 6,
        0x80.. => beyond,
        _ => 1,
    };
    text.iter().map(escaped).sum()
}

/// Returns the number of bytes that a row with this text counts for: about as many as it takes as a line of JSON.
pub fn text_row_bytes(text: &[u8]) -> u64 {
    u64::from(TABLE_ROW_BYTES) + json_text_bytes(text, BeyondAscii::AsItIs)
}

/// Returns the number of bytes that a row with a name and `bytes` bytes counts for: about as many as it takes as a line of JSON, in base64.
pub fn bytes_row_bytes(name: &[u8], bytes: usize) -> u64 {
    text_row_bytes(name) + (bytes as u64).div_ceil(3) * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_counts_for_what_it_takes_as_json() {
        for (text, escaped) in
            [("", 0), ("plain", 5), ("é", 2), ("a\"b\\", 6), ("\u{1}\n", 12), ("\u{7f}", 6), ("\u{202e}", 3)]
        {
            assert_eq!(text_row_bytes(text.as_bytes()), u64::from(TABLE_ROW_BYTES) + escaped, "{text:?}");
        }
        assert_eq!(bytes_row_bytes(b"x", 4), u64::from(TABLE_ROW_BYTES) + 1 + 8);
    }

    /// Characters that JSON writes by their numbers take no more than what they are counted for then, whatever they are.
    #[test]
    fn characters_by_number_are_a_bound() {
        for character in '\0'..=char::MAX {
            let mut bytes = [0; 4];
            let text = character.encode_utf8(&mut bytes).as_bytes();
            let most = json_text_bytes(text, BeyondAscii::ByNumber);
            let by_number = 6 * character.len_utf16() as u64;
            let written = if character.is_ascii() { json_text_bytes(text, BeyondAscii::AsItIs) } else { by_number };
            assert!(written <= most && most <= by_number + 3, "{character:?}: {written}, {most}");
        }
    }

    #[test]
    fn what_is_not_kept_is_summed_and_the_first_budget_is_named() {
        let mut unkept = Unkept::default();
        unkept.add(10, TableBudget::Tenant);
        unkept.add(u64::MAX, TableBudget::Step);
        assert_eq!(unkept, Unkept { rows: 2, bytes: u64::MAX, budget: Some(TableBudget::Tenant) });
        assert_eq!(TableBudget::Tenant.key(RunTable::Logs), "log_bytes_per_frame_max");
    }
}
