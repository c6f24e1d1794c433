//! The columns of the `ps` and `wide` formats: cells at least 5 wide, 3 blanks after the widest, left
//! aligned.

use golang::tabwriter;

/// Lays out a header and rows; every cell ends in a tab, the last one too, so every line ends in blanks. A
/// line break inside of a cell breaks the table apart there, as it does in Go.
pub fn table<S: AsRef<str>>(header: &[S], rows: &[Vec<String>]) -> String {
    fn line<S: AsRef<str>>(cells: &[S]) -> String {
        cells.iter().map(|cell| format!("{}\t", cell.as_ref())).collect::<String>() + "\n"
    }
    layout(&(line(header) + &rows.iter().map(|row| line(row)).collect::<String>()))
}

/// Lays out lines whose cells are ended by tabs. The text after a line's last tab is in no column. The last
/// line must be ended too.
pub(crate) fn layout(text: &str) -> String {
    tabwriter::layout(text, 5, 3)
}
