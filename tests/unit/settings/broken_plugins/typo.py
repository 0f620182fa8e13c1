from streamd.api import hookimpl


@hookimpl
def streamd_plugin() -> list[object]:
    return []
