//! A page's blocks, as they stand in its Markdown.

/// The store of a page's commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    Embedded,
    Etcd,
    Kubernetes,
}

/// Commands that change the host's network, its services or its files: a test may run them in namespaces of
/// its own alone.
const OF_THE_HOST: [&str; 8] =
    ["rackpoold node", "sudo", "systemctl", "ip ", "nft ", "sysctl", "apt", "dpkg"];

/// What a block is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Commands, and the output of each.
    Session,
    /// Commands alone.
    Script,
    /// A file of that name.
    File(String),
}

/// A block that has something to run or to write.
#[derive(Clone, Debug)]
pub struct Block {
    pub role: Role,
    /// The number of its first line in the page.
    pub line: usize,
    pub text: String,
    /// Whether readers of the page do not see it.
    pub is_hidden: bool,
}

impl Block {
    /// A command in it that changes the host.
    pub fn of_the_host(&self) -> Option<&str> {
        let begin = match self.role {
            Role::Session => "$ ",
            Role::Script => "",
            Role::File(_) => return None,
        };
        let is_of_the_host = |line: &str| OF_THE_HOST.iter().any(|word| line.trim_start().starts_with(word));
        self.text.lines().find(|line| line.strip_prefix(begin).is_some_and(is_of_the_host))
    }

    /// Its first command, or line, without the prompt.
    pub fn first(&self) -> &str {
        let first = self.text.lines().next().unwrap_or_default();
        first.strip_prefix("$ ").unwrap_or(first)
    }
}

/// A page of the documentation.
pub struct Page {
    pub name: String,
    pub store: Store,
    pub blocks: Vec<Block>,
    /// What is wrong with its blocks.
    pub faults: Vec<String>,
}

/// How a line begins that is a command and not an example of something else.
const COMMANDS: [&str; 7] = ["$ ", "calicoctl ", "rackpoold ", "kubectl ", "helm ", "calico-ipam ", "sudo "];

impl Page {
    pub fn read(name: String, text: &str) -> Page {
        let mut page = Page { name, store: Store::Embedded, blocks: Vec::new(), faults: Vec::new() };
        let mut lines = text.lines().zip(1..);
        while let Some((line, number)) = lines.next() {
            let trimmed = line.trim_start();
            if let Some(store) = trimmed.strip_prefix("<!-- store: ") {
                match store.trim_end_matches(" -->") {
                    "embedded" => page.store = Store::Embedded,
                    "etcd" => page.store = Store::Etcd,
                    "kubernetes" => page.store = Store::Kubernetes,
                    other => page.fault(number, &format!("there is no store {other:?}")),
                }
            } else if trimmed == "<!-- before" {
                let inside = lines.by_ref().take_while(|(line, _)| line.trim() != "-->");
                let text = joined(inside.map(|(line, _)| line));
                page.blocks.push(Block { role: Role::Script, line: number + 1, text, is_hidden: true });
            } else if let Some(info) = trimmed.strip_prefix("```") {
                let margin = line.len() - trimmed.len();
                let inside = lines.by_ref().take_while(|(line, _)| line.trim() != "```");
                let text = joined(inside.map(|(line, _)| line.get(margin..).unwrap_or_default()));
                page.block(info.trim(), number + 1, text);
            }
        }
        page
    }

    fn block(&mut self, info: &str, line: usize, text: String) {
        let words: Vec<&str> = info.split_whitespace().collect();
        let role = match words.as_slice() {
            ["console"] => Role::Session,
            ["sh"] => Role::Script,
            ["yaml" | "json", file] => Role::File((*file).to_string()),
            // The reference of the selectors has fences of its own, which the crate `selector` tests.
            ["text" | "yaml" | "json" | "same" | "labels" | "selects" | "selectors" | "mistake"] => {
                let hidden = text.lines().find(|line| COMMANDS.iter().any(|word| line.starts_with(word)));
                if let Some(command) = hidden {
                    self.fault(line, &format!("`{command}` is a command in a block that is not run"));
                }
                return;
            }
            _ => return self.fault(line, &format!("the fence {info:?} does not say what the block is")),
        };
        if role == Role::Session && !text.starts_with("$ ") {
            self.fault(line, "a console block begins with `$ `");
        }
        self.blocks.push(Block { role, line, text, is_hidden: false });
    }

    fn fault(&mut self, line: usize, text: &str) {
        self.faults.push(format!("docs/{}:{line}: {text}", self.name));
    }
}

fn joined<'l>(lines: impl Iterator<Item = &'l str>) -> String {
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// A command, and what the page shows of its output; `None` where the page shows nothing of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    pub line: usize,
    pub text: String,
    pub output: Option<String>,
}

/// The commands of a block. A script is one command.
pub fn commands(block: &Block) -> Vec<Command> {
    match &block.role {
        Role::Script => vec![Command { line: block.line, text: block.text.clone(), output: None }],
        Role::File(name) => {
            let text = format!("cat >{name} <<'END OF FILE'\n{}END OF FILE\n", block.text);
            vec![Command { line: block.line, text, output: None }]
        }
        Role::Session => session(block),
    }
}

fn session(block: &Block) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    // What ends the text that a command is given: `EOF` after `<<EOF`.
    let mut until: Option<String> = None;
    let mut goes_on = false;
    for (text, line) in block.text.lines().zip(block.line..) {
        let begins = text.strip_prefix("$ ").filter(|_| until.is_none() && !goes_on);
        if let Some(command) = begins {
            commands.push(Command { line, text: String::new(), output: Some(String::new()) });
            until = command.split("<<").nth(1).map(|end| end.trim_matches(['\'', ' ']).to_string());
        }
        let Some(last) = commands.last_mut() else { continue };
        let is_input = begins.is_none() && (until.is_some() || goes_on);
        if begins.is_some() || is_input {
            last.text.push_str(begins.unwrap_or(text));
            last.text.push('\n');
            goes_on = text.ends_with('\\') || (until.is_none() && last.text.matches('\'').count() % 2 == 1);
            if is_input && until.as_deref() == Some(text) {
                until = None;
            }
        } else if let Some(output) = &mut last.output {
            output.push_str(text);
            output.push('\n');
        }
    }
    commands
}

#[test]
fn a_page_is_read() {
    let text = "# T\n<!-- store: etcd -->\n<!-- before\nmake it\n-->\n```console\n$ cat <<EOF\nx\nEOF\nx\n$ a \\\n  b\n```\n1. a\n   ```yaml p.yaml\n   a: 1\n     b: 2\n   ```\n```\nodd\n```\n```text\ncalicoctl x\n```\n";
    let page = Page::read("t.md".to_string(), text);
    assert_eq!(page.store, Store::Etcd);
    let roles: Vec<_> = page.blocks.iter().map(|block| (block.role.clone(), block.line)).collect();
    assert_eq!(roles, [(Role::Script, 4), (Role::Session, 7), (Role::File("p.yaml".to_string()), 16)]);
    assert_eq!(page.blocks[2].text, "a: 1\n  b: 2\n");
    assert_eq!(page.faults.len(), 2, "{:?}", page.faults);
    let command = |line, text: &str, output: &str| Command {
        line,
        text: text.to_string(),
        output: Some(output.to_string()),
    };
    let wanted = [command(7, "cat <<EOF\nx\nEOF\n", "x\n"), command(11, "a \\\n  b\n", "")];
    assert_eq!(commands(&page.blocks[1]), wanted);
}
