//! Columns as Go's `text/tabwriter` lays them out for the `ps` and `wide` formats: cells at least 5 wide, 3
//! blanks after the widest, left aligned.

/// The narrowest a column may be, in characters.
const MIN_WIDTH: usize = 5;
/// The blanks that follow the widest cell of a column.
const PADDING: usize = 3;

/// Lays out a header and rows. A tab ends every cell, the last one too, so every line ends in blanks. A line
/// break inside of a cell breaks the table there, as in Go.
pub fn table<S: AsRef<str>>(header: &[S], rows: &[Vec<String>]) -> String {
    fn line<S: AsRef<str>>(cells: &[S]) -> String {
        cells.iter().map(|cell| format!("{}\t", cell.as_ref())).collect::<String>() + "\n"
    }
    layout(&(line(header) + &rows.iter().map(|row| line(row)).collect::<String>()))
}

/// Lays out lines in which a tab ends each cell. The text after the last tab of a line is in no column. A
/// newline must end the last line, too.
pub(crate) fn layout(text: &str) -> String {
    let lines: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut writer = Writer { lines, widths: Vec::new(), text: String::new() };
    writer.format(0, writer.lines.len());
    writer.text
}

struct Writer<'a> {
    lines: Vec<Vec<&'a str>>,
    /// The widths of the columns to the left of the current one.
    widths: Vec<usize>,
    text: String,
}

impl Writer<'_> {
    /// Writes the lines `from..to`. A column is a run of adjacent lines that have a cell at the current
    /// position.
    fn format(&mut self, from: usize, to: usize) {
        let column = self.widths.len();
        let mut unwritten = from;
        let mut line = from;
        while line < to {
            if !self.has_cell(line, column) {
                line += 1;
                continue;
            }
            self.write(unwritten, line);
            let end = (line..to).find(|&line| !self.has_cell(line, column)).unwrap_or(to);
            let widest = self.lines[line..end].iter().map(|cells| cells[column].chars().count()).max();
            self.widths.push(MIN_WIDTH.max(widest.unwrap_or(0) + PADDING));
            self.format(line, end);
            self.widths.pop();
            unwritten = end;
            line = end;
        }
        self.write(unwritten, to);
    }

    fn has_cell(&self, line: usize, column: usize) -> bool {
        column + 1 < self.lines[line].len()
    }

    fn write(&mut self, from: usize, to: usize) {
        for line in from..to {
            for (index, cell) in self.lines[line].iter().enumerate() {
                self.text.push_str(cell);
                if let Some(width) = self.widths.get(index) {
                    self.text.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
                }
            }
            if line + 1 < self.lines.len() {
                self.text.push('\n');
            }
        }
    }
}
