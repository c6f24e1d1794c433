//! Go's `text/tabwriter`: columns that are aligned left, with blanks between them. Go's formatting flags are
//! not supported.

/// Lays out lines in which a tab ends each cell, as `tabwriter.NewWriter(w, min_width, 0, padding, ' ', 0)`
/// does. A column is at least `min_width` characters wide, and `padding` wider than its widest cell. The text
/// after the last tab of a line is in no column. A form feed ends a line and all columns.
pub fn layout(text: &str, min_width: usize, padding: usize) -> String {
    let parts = text.split('\u{c}').map(|part| {
        let lines = part.split('\n').map(|line| line.split(['\t', '\u{b}']).collect()).collect();
        let mut writer = Writer { lines, min_width, padding, widths: Vec::new(), text: String::new() };
        writer.format();
        writer.text
    });
    parts.collect::<Vec<_>>().join("\n")
}

struct Writer<'a> {
    lines: Vec<Vec<&'a str>>,
    min_width: usize,
    padding: usize,
    /// The widths of the columns to the left of the current one.
    widths: Vec<usize>,
    text: String,
}

impl Writer<'_> {
    /// Writes all lines. A column is a run of adjacent lines that have a cell at the current position.
    /// Columns lie in columns, as many as a line has cells, which may be more than calls can nest.
    fn format(&mut self) {
        // Runs of lines that are not written yet: each lies in a column of the run before it.
        let all = 0..self.lines.len();
        let mut runs = Vec::from([all]);
        while let Some(run) = runs.pop() {
            let column = runs.len();
            self.widths.truncate(column);
            let Some(begin) = run.clone().find(|&line| self.has_cell(line, column)) else {
                self.write(run.start, run.end);
                continue;
            };
            self.write(run.start, begin);
            let end = (begin..run.end).find(|&line| !self.has_cell(line, column)).unwrap_or(run.end);
            let widest = self.lines[begin..end].iter().map(|cells| cells[column].chars().count()).max();
            self.widths.push(self.min_width.max(widest.unwrap_or(0) + self.padding));
            runs.push(end..run.end);
            runs.push(begin..end);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_lie_in_columns() {
        let text = "a\tbb\tc\n\tx\n\nlong\t\t\nq\n";
        assert_eq!(layout(text, 2, 1), "a bb c\n  x\n\nlong   \nq\n");
    }

    /// A cell may hold tabs, and whoever stores it decides how many.
    #[test]
    fn a_line_may_have_any_number_of_cells() {
        let text = format!("NAME\t\np{}\t\n", "\t".repeat(300_000));
        assert_eq!(layout(&text, 1, 1).len(), "NAME \n".len() + "p    ".len() + 300_000 + 1);
    }
}
