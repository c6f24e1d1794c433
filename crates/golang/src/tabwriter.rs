//! Go's `text/tabwriter`: columns that are aligned left, with blanks between them. Go's formatting flags are
//! not supported.

/// Lays out lines in which a tab ends each cell, as `tabwriter.NewWriter(w, min_width, 0, padding, ' ', 0)`
/// does. A column is at least `min_width` characters wide, and `padding` wider than its widest cell. The text
/// after the last tab of a line is in no column. A form feed ends a line and all columns.
pub fn layout(text: &str, min_width: usize, padding: usize) -> String {
    let parts = text.split('\u{c}').map(|part| {
        let lines = part.split('\n').map(|line| line.split(['\t', '\u{b}']).collect()).collect();
        let mut writer = Writer { lines, min_width, padding, widths: Vec::new(), text: String::new() };
        writer.format(0, writer.lines.len());
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
            self.widths.push(self.min_width.max(widest.unwrap_or(0) + self.padding));
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
