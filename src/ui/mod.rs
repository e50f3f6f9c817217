//! What people see: progress, tables, prompts.
