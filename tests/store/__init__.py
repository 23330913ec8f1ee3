"""What is kept in SQL, on SQLite and on PostgreSQL."""
