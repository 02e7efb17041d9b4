"""Loads Flower's templates and ours, and adds our tab and style sheet to Flower's."""

from importlib import resources

import tornado.template

PREFIX = "allocation/"
"""Names of our templates begin so."""

_TAB = """\
        <li class="nav-item">
          <a class="nav-link{% if active_tab == 'allocation' %} active{% end %}" href="{{ reverse_url('allocation') }}"
            {% if active_tab == 'allocation' %}aria-current="page"{% end %}>Allocation</a>
        </li>
      """

_STYLE = """\
    <link rel="stylesheet" href="{{ reverse_url('allocation_static', 'tasks.css') }}">
  """

_ADDED = {"navbar.html": ("</ul>", _TAB), "base.html": ("</head>", _STYLE)}
"""What is added to Flower's templates, and before what."""


class Templates(tornado.template.Loader):
    """Flower's loader for names without our prefix."""

    def _create_template(self, name: str) -> tornado.template.Template:
        if name.startswith(PREFIX):
            text = (resources.files("worker.processes.flower") / "templates" / name.removeprefix(PREFIX)).read_text()
            return tornado.template.Template(text, name=name, loader=self)
        if name in _ADDED:
            before, added = _ADDED[name]
            text = (resources.files("flower") / "templates" / name).read_text()
            return tornado.template.Template(text.replace(before, added + before, 1), name=name, loader=self)
        return super()._create_template(name)
