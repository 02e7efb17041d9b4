"""Labels: the smallest documents that a reader of the format accepts."""

import re
from base64 import b64encode

from worker.lab.sandbox.http_types import caused

CONTENT_TYPES = {"pdf": "application/pdf", "zpl": "text/plain"}
"""The formats there are."""

DPI = re.compile(r"[0-9]{1,4}")
"""The resolution in a label's path, in dots per inch."""


NO_SUCH_LABEL = caused(400, "validation_error", "invalid_format", "The format is pdf or zpl, the dpi a number.")


def label_file(reference: str, kind: str) -> bytes:
    """The label's file."""
    return _pdf(reference) if kind == "pdf" else _zpl(reference)


def label(reference: str, kind: str) -> str:
    """The label's file as base64 text, as both generations of the API return it."""
    return b64encode(label_file(reference, kind)).decode()


def _zpl(reference: str) -> bytes:
    return f"^XA^FO40,40^A0N,40,40^FD{reference}^FS^XZ".encode()


def _pdf(reference: str) -> bytes:
    """One page of 4 by 6 inches with the reference on it."""
    drawing = f"BT /F1 10 Tf 20 400 Td ({reference}) Tj ET"
    fonts = "<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 288 432] /Contents 4 0 R /Resources {fonts} >>",
        f"<< /Length {len(drawing)} >>\nstream\n{drawing}\nendstream",
    ]
    text, offsets = "%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(text))
        text += f"{number} 0 obj\n{content}\nendobj\n"
    entries = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    xref = f"xref\n0 {size}\n0000000000 65535 f \n{entries}"
    return f"{text}{xref}trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{len(text)}\n%%EOF\n".encode()
