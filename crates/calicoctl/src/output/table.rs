//! Boxed tables as go-pretty draws them by default, for `ipam show`.

/// On which side the cells of a column stand. A header always stands on the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Align {
    /// At the left edge.
    Left,
    /// At the right edge.
    Right,
}

/// Draws the table, with a newline after its last line. `columns` are the headers, which are drawn in
/// capitals; a row shorter than the header has empty cells at its end.
pub fn boxed_table(columns: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let headers: Vec<String> = columns.iter().map(|(header, _)| header.to_uppercase()).collect();
    let widths: Vec<usize> = headers
        .iter()
        .enumerate()
        .map(|(column, header)| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| width(cell))
                .fold(width(header), usize::max)
        })
        .collect();
    let rule: String =
        widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect::<String>() + "+\n";
    let mut text = rule.clone();
    push_row(&mut text, &headers, &widths, |_| Align::Left);
    text.push_str(&rule);
    for row in rows {
        push_row(&mut text, row, &widths, |column| columns[column].1);
    }
    text.push_str(&rule);
    text
}

fn push_row(text: &mut String, cells: &[String], widths: &[usize], align: impl Fn(usize) -> Align) {
    for (column, &column_width) in widths.iter().enumerate() {
        let cell = cells.get(column).map_or("", String::as_str);
        let fill = " ".repeat(column_width - width(cell));
        let (before, after) = match align(column) {
            Align::Left => ("", fill.as_str()),
            Align::Right => (fill.as_str(), ""),
        };
        text.push_str(&format!("| {before}{cell}{after} "));
    }
    text.push_str("|\n");
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}
