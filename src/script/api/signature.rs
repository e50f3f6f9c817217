//! A function's declaration as the reference prints it: `stop(container: Container, options: Map = #{}) -> ()`.

/// One parameter of a primitive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    /// `string`, `int`, `Map`, `Container`, … or `any`.
    pub type_name: String,
    /// As written; `None` makes it required.
    pub default: Option<String>,
}

/// Name, parameters and return type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub name: String,
    pub parameters: Vec<Parameter>,
    /// `()` when nothing is returned.
    pub returns: String,
}

impl Signature {
    /// Reads a declaration. Optional parameters come last. Declarations are part of the program's source,
    /// so a malformed one ends the program at start, where every test sees it.
    pub fn parse(declaration: &str) -> Self {
        let (head, returns) = declaration.rsplit_once(" -> ").unwrap_or((declaration, "()"));
        let (name, rest) = head.split_once('(').unwrap_or_else(|| panic!("no parameter list: {declaration}"));
        let list = rest.strip_suffix(')').unwrap_or_else(|| panic!("open parameter list: {declaration}"));
        let parameters: Vec<_> = list.split(", ").filter(|p| !p.is_empty()).map(Parameter::parse).collect();
        let first_optional = parameters.iter().position(|p| p.default.is_some()).unwrap_or(parameters.len());
        assert!(parameters[first_optional..].iter().all(|p| p.default.is_some()), "optional first: {declaration}");
        Self { name: name.to_owned(), parameters, returns: returns.to_owned() }
    }

    /// How many arguments must be given.
    pub fn required(&self) -> usize {
        self.parameters.iter().filter(|p| p.default.is_none()).count()
    }

    pub fn position(&self, parameter: &str) -> Option<usize> {
        self.parameters.iter().position(|p| p.name == parameter)
    }

    /// The type of the first parameter when it is a handle (a capitalised type other than Map, Array, Fn).
    pub fn receiver(&self) -> Option<&str> {
        let first = self.parameters.first()?.type_name.as_str();
        let is_handle = first.starts_with(char::is_uppercase) && !matches!(first, "Map" | "Array" | "Fn" | "Secret");
        is_handle.then_some(first)
    }
}

impl Parameter {
    fn parse(text: &str) -> Self {
        let (text, default) = match text.split_once(" = ") {
            Some((text, default)) => (text, Some(default.to_owned())),
            None => (text, None),
        };
        let (name, type_name) = text.split_once(": ").unwrap_or_else(|| panic!("parameter without a type: {text}"));
        Self { name: name.to_owned(), type_name: type_name.to_owned(), default }
    }
}

impl std::fmt::Display for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}(", self.name)?;
        for (i, p) in self.parameters.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{}: {}", p.name, p.type_name)?;
            if let Some(default) = &p.default {
                write!(f, " = {default}")?;
            }
        }
        f.write_str(")")?;
        if self.returns != "()" {
            write!(f, " -> {}", self.returns)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declaration_reads_and_prints_the_same() {
        let text = "stop(container: Container, timeout: string = \"10s\") -> Map";
        let signature = Signature::parse(text);
        assert_eq!(signature.to_string(), text);
        assert_eq!((signature.required(), signature.receiver()), (1, Some("Container")));
    }
}
