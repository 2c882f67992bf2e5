//! The table of rows by flag.
use connectors::{ledger::FlagCounts, part::FLAGS};
use hubbleflow::status::{DropStatus, Status};

use crate::page::{escape, grouped};

/// A row for each drop with flagged rows, and one for all; nothing if no row is flagged.
pub(super) fn table(status: &Status) -> String {
    if status.flags.is_empty() {
        return String::new();
    }
    let row = |name: &str, flags: &FlagCounts| {
        let counts = FLAGS.map(|(flag, _)| grouped(flags.of_flag(flag) as i64));
        let counts = counts.map(|count| format!("<td>{count}</td>"));
        format!("<tr><td>{name}</td>{}</tr>\n", counts.concat())
    };
    let each = |DropStatus { drop, flags, .. }: &DropStatus| {
        let flags = flags.as_ref().filter(|flags| !flags.is_empty())?;
        Some(row(&escape(drop), flags))
    };
    let rows: String = status.drops.iter().filter_map(each).collect();
    let all = row("all", &status.flags);
    let names = FLAGS.map(|(flag, _)| format!("<th>{flag}</th>")).concat();
    format!(
        r#"<section class="wide"><h2>Flags</h2><p>Written rows by the bits of z_flags, of the drops with flagged rows</p>
<table><thead><tr><th>drop</th>{names}</tr></thead>
<tbody>
{rows}{all}</tbody></table></section>"#
    )
}
