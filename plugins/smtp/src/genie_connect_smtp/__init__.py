"""The SMTP connector for Genie Connect."""
