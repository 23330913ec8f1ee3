"""Databases with the store's tables, emptied for the next test: making one costs the server ten times that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers.guarded import ServerFailedError
from tests.servers.postgresql import Postgresql

_SHAPE = """
select md5(string_agg(concat_ws(' ', table_schema, table_name, column_name, data_type, column_default), ','
                      order by table_schema, table_name, column_name))
    || (select string_agg(version_num, ',') from genie_connect_version)
from information_schema.columns where table_schema not in ('pg_catalog', 'information_schema')
"""
_OTHERS_OUT = """
select pg_terminate_backend(pid, 5000) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid()
"""
_EMPTY = """
do $$ declare name text; begin
    set local session_replication_role = replica;
    for name in select tablename from pg_tables
        where schemaname = 'public' and tablename <> 'genie_connect_version' loop
        execute format('delete from %I', name);
    end loop;
    for name in select sequencename from pg_sequences where schemaname = 'public' loop
        execute format('alter sequence %I restart', name);
    end loop;
end $$
"""


class Emptied:
    """Hands out copies of ``template`` and takes those back whose tables are as they were."""

    def __init__(self, server: Postgresql, template: str) -> None:
        self._server = server
        self._template = template
        self._shape = server.psql(server.url(template), _SHAPE)
        self._free: list[str] = []

    @contextmanager
    def one(self) -> Iterator[str]:
        """The URL of a database for the block, in which all tables are empty."""
        url = self._free.pop() if self._free else self._server.make_database(like=self._template)
        reusable = False
        try:
            yield url
            reusable = self._emptied(url)
        finally:
            if reusable:
                self._free.append(url)
            else:
                self._server.drop_database(url)

    def _emptied(self, url: str) -> bool:
        """Throw everybody out and empty it. Returns whether its tables are still those of the template."""
        try:
            answers = self._server.psql(url, _OTHERS_OUT, _EMPTY, _SHAPE).splitlines()
        except ServerFailedError:
            # A test has dropped it, or what was in it.
            return False
        return answers[-1] == self._shape
