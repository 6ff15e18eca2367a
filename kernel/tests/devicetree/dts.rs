//! A small compiler from device-tree source to blobs, enough for tests: nodes, properties of texts, `<cells>` and
//! `[bytes]`, `/memreserve/`, and `/nop/;`, which becomes a NOP. No labels, no expressions, no comments.

/// Compiles `source`; panics where it is no source.
pub fn compile(source: &str) -> Vec<u8> {
    let mut dts = Dts { rest: source, structure: Vec::new(), strings: Vec::new() };
    let mut reservations = Vec::new();
    let mut word = dts.word();
    while word == "/memreserve/" {
        for _ in 0..2 {
            let number = parse(dts.word());
            reservations.extend(number.to_be_bytes());
        }
        dts.expect(";");
        word = dts.word();
    }
    assert_eq!(word, "/", "the root");
    dts.expect("{");
    dts.node("");
    dts.put(9);
    assemble(&reservations, &dts.structure, &dts.strings)
}

/// A blob of version 17 with these blocks; the closing reservation is added.
pub fn assemble(reservations: &[u8], structure: &[u8], strings: &[u8]) -> Vec<u8> {
    let structure_at = 40 + reservations.len() + 16;
    let strings_at = structure_at + structure.len();
    let total = strings_at + strings.len();
    let header = [0xd00d_feed, total, structure_at, strings_at, 40, 17, 16, 0, strings.len(), structure.len()];
    let header = header.iter().flat_map(|word| (*word as u32).to_be_bytes());
    header.chain([reservations, &[0; 16], structure, strings].concat()).collect()
}

struct Dts<'s> {
    rest: &'s str,
    structure: Vec<u8>,
    strings: Vec<u8>,
}

impl<'s> Dts<'s> {
    fn word(&mut self) -> &'s str {
        self.rest = self.rest.trim_start();
        let is_mark = |c: char| "{};=<>[],\"".contains(c);
        let is_end = |c: char| c.is_whitespace() || (is_mark(c) && c != ',');
        let len = match self.rest.chars().next() {
            Some('"') => self.rest[1..].find('"').expect("closing quote") + 2,
            Some(first) if is_mark(first) => 1,
            _ => self.rest.find(is_end).expect("end of the word"),
        };
        let (word, rest) = self.rest.split_at(len);
        self.rest = rest;
        word
    }

    fn expect(&mut self, word: &str) {
        assert_eq!(self.word(), word, "before {:?}", self.rest);
    }

    fn node(&mut self, name: &str) {
        self.put(1);
        self.put_bytes(&[name.as_bytes(), &[0]].concat());
        loop {
            match self.word() {
                "}" => break,
                "/nop/" => {
                    self.put(4);
                    self.expect(";");
                }
                name => match self.word() {
                    "{" => self.node(name),
                    ";" => self.property(name, &[]),
                    mark => {
                        assert_eq!(mark, "=", "after {name}");
                        let value = self.value();
                        self.property(name, &value);
                    }
                },
            }
        }
        self.expect(";");
        self.put(2);
    }

    fn value(&mut self) -> Vec<u8> {
        let mut value = Vec::new();
        loop {
            match self.word() {
                ";" => return value,
                "," => {}
                "<" => self.list(">", |cell| value.extend((parse(cell) as u32).to_be_bytes())),
                "[" => self.list("]", |byte| value.push(u8::from_str_radix(byte, 16).expect("a hex byte"))),
                text => {
                    value.extend(text.trim_matches('"').bytes());
                    value.push(0);
                }
            }
        }
    }

    fn list(&mut self, end: &str, mut each: impl FnMut(&str)) {
        loop {
            match self.word() {
                word if word == end => return,
                word => each(word),
            }
        }
    }

    fn property(&mut self, name: &str, value: &[u8]) {
        self.put(3);
        self.put(value.len());
        self.put(self.strings.len());
        self.put_bytes(value);
        self.strings.extend(name.bytes().chain([0]));
    }

    fn put(&mut self, word: usize) {
        self.structure.extend((word as u32).to_be_bytes());
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        self.structure.extend(bytes);
        self.structure.resize(self.structure.len().next_multiple_of(4), 0);
    }
}

fn parse(number: &str) -> u64 {
    let parsed = match number.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => number.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("{number} is no number"))
}
