//! Child processes: streamed lines, ended as a group when cancelled.
