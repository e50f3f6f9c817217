pub struct Copies;
