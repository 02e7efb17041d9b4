"""Loads Flower's templates and ours, and adds our tab to Flower's navigation."""

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


class Templates(tornado.template.Loader):
    """Flower's loader for names without our prefix."""

    def _create_template(self, name: str) -> tornado.template.Template:
        if name.startswith(PREFIX):
            text = (resources.files("worker.processes.flower") / "templates" / name.removeprefix(PREFIX)).read_text()
            return tornado.template.Template(text, name=name, loader=self)
        if name == "navbar.html":
            text = self._flowers(name).replace("</ul>", f"{_TAB}</ul>", 1)
            return tornado.template.Template(text, name=name, loader=self)
        return super()._create_template(name)

    def _flowers(self, name: str) -> str:
        return (resources.files("flower") / "templates" / name).read_text()
