use super::*;

/// Gives the text in portions of three bytes, so that separators are cut at every place.
struct Drops<'t>(&'t [u8]);

impl Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = buffer.len().min(3);
        self.0.read(&mut buffer[..end])
    }
}

fn split(text: &[u8]) -> impl Iterator<Item = Result<Vec<u8>, ReadError>> {
    Split::new("-", text)
}

fn texts(text: &str) -> Vec<String> {
    let read = |split: &mut dyn Iterator<Item = Result<Vec<u8>, ReadError>>| -> Vec<String> {
        split.map(|document| String::from_utf8(document.unwrap()).unwrap()).collect()
    };
    let whole = read(&mut split(text.as_bytes()));
    assert_eq!(read(&mut Split::new("-", Drops(text.as_bytes()))), whole);
    whole
}

#[test]
fn splits_at_lines_that_begin_with_three_dashes() {
    for (text, expected) in [
        ("", vec![]),
        ("foo", vec!["foo"]),
        ("---", vec!["---"]),
        ("---\n", vec!["---\n"]),
        ("\n---\n", vec![""]),
        ("# nothing\n", vec!["# nothing\n"]),
        // Recorded in 034-empty-input: one document, which is null.
        ("---\n---\n", vec!["---"]),
        ("abc\n---\ndef", vec!["abc", "def"]),
        ("abc\n--- # two\ndef\n", vec!["abc", "def\n"]),
        ("abc\n---", vec!["abc"]),
        ("abc\n---\n", vec!["abc"]),
        ("a: |\n---\nb\n", vec!["a: |", "b\n"]),
        ("a\n ---\nb", vec!["a\n ---\nb"]),
        ("a\n---\n---\nb", vec!["a", "---\nb"]),
        // Calico loses this document.
        ("a\n--- end", vec!["a"]),
    ] {
        assert_eq!(texts(text), expected, "{text:?}");
    }
}

#[test]
fn refuses_documents_of_ten_mebibytes() {
    let long = vec![b'a'; MAX_DOCUMENT];
    assert_eq!(split(&long).next().unwrap().unwrap_err().to_string(), "bufio.Scanner: token too long");
    assert!(split(&long[1..]).next().unwrap().is_ok());

    let separated = |length: usize| [vec![b'a'; length], b"\n---\nb".to_vec()].concat();
    assert!(split(&separated(MAX_DOCUMENT - 5)).all(|document| document.is_ok()));
    assert_eq!(
        split(&separated(MAX_DOCUMENT - 4)).map(|document| document.is_ok()).collect::<Vec<_>>(),
        [false]
    );
}

/// Counts how many bytes are read from it.
struct Endless<'c>(&'c mut usize);

impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer.fill(b'a');
        *self.0 += buffer.len();
        Ok(buffer.len())
    }
}

#[test]
fn no_more_is_read_than_a_document_may_have() {
    let mut count = 0;
    let first = Split::new("-", Endless(&mut count)).next().unwrap();
    assert!(matches!(first, Err(ReadError::TooLong)));
    assert!(count < MAX_DOCUMENT + 2 * PORTION, "{count}");
}

/// A document's source, index and text.
type SourceIndexText = (String, usize, String);

fn read(path: &str, recursive: bool, stdin: &str) -> Result<(InputKind, Vec<SourceIndexText>), String> {
    let mut found = Vec::new();
    let kind = visit::<ReadError>(path, recursive, &mut stdin.as_bytes(), &mut |document| {
        found.push((document.source, document.index, String::from_utf8_lossy(&document.text).into_owned()));
        Ok(())
    });
    kind.map(|kind| (kind, found)).map_err(|error| error.to_string())
}

#[test]
fn reads_standard_input() {
    let document = |index, text: &str| ("-".to_owned(), index, text.to_owned());
    assert_eq!(
        read("-", false, "a\n---\nb\n"),
        Ok((InputKind::File, vec![document(0, "a"), document(1, "b\n")]))
    );
    assert_eq!(read("-", false, ""), Ok((InputKind::File, vec![])));
}

#[test]
fn walks_a_directory_in_the_order_of_names() {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
    fs::create_dir_all(root.path().join("m/deep")).unwrap();
    write("b.yaml", "b");
    write("A.YML", "A");
    write("c.json", "c\n---\nd");
    write("notes.txt", "x");
    write("m/one.yaml", "one");
    write("m/deep/two.yaml", "two");
    let path = |name: &str| root.path().join(name).display().to_string();

    let (kind, flat) = read(&root.path().display().to_string(), false, "").unwrap();
    assert_eq!(kind, InputKind::Directory);
    let expected = [("A.YML", 0, "A"), ("b.yaml", 0, "b"), ("c.json", 0, "c"), ("c.json", 1, "d")];
    assert_eq!(flat, expected.map(|(name, index, text)| (path(name), index, text.to_owned())));

    let (_, deep) = read(&path("./."), true, "").unwrap();
    let names: Vec<_> = deep.into_iter().map(|(name, _, _)| name).collect();
    assert_eq!(names, ["A.YML", "b.yaml", "c.json", "c.json", "m/deep/two.yaml", "m/one.yaml"].map(path));
}

#[test]
fn an_empty_file_has_no_document() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("empty.yaml");
    fs::write(&file, "").unwrap();
    assert_eq!(read(&file.display().to_string(), false, ""), Ok((InputKind::File, vec![])));
    fs::remove_file(file).unwrap();
    assert_eq!(read(&root.path().display().to_string(), false, ""), Ok((InputKind::Directory, vec![])));
    assert_eq!((InputKind::File.word(), InputKind::Directory.word()), ("file", "directory"));
}

#[test]
fn words_errors_as_go_does() {
    // Recorded in 036-missing-files.
    assert_eq!(read("nope.yaml", false, ""), Err("open nope.yaml: no such file or directory".to_owned()));
    assert_eq!(read("", false, ""), Err("open : no such file or directory".to_owned()));

    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("a.yaml");
    fs::write(&file, "a").unwrap();
    let below = file.join("b.yaml").display().to_string();
    assert_eq!(read(&below, false, ""), Err(format!("open {below}: not a directory")));
}

#[test]
fn the_visitor_stops_the_walk() {
    let mut seen = 0;
    let result = visit::<ReadError>("-", false, &mut &b"a\n---\nb"[..], &mut |_| {
        seen += 1;
        Err(ReadError::TooLong)
    });
    assert!(result.is_err());
    assert_eq!(seen, 1);
}
