"""One test for each advisory of 2023-2026 about a mail library that concerns this one: docs/pages/advisories.md."""
