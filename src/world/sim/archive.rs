pub struct Archives;
