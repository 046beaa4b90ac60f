"""AWS's refusals that moto's own errors cannot say: each service's form, with AWS's HTTP status."""

import json
from xml.sax.saxutils import escape


class Refused(Exception):  # it is AWS that refuses, nothing here went wrong
    """What AWS answers instead of doing what was asked."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def answer(service: str, refused: Refused) -> tuple[int, dict[str, str], str]:
    """Return an error in the service's own form."""
    code, message = refused.code, refused.message
    if service == "ebs":
        body = json.dumps({"Message": message})
        headers = {"Content-Type": "application/json", "x-amzn-ErrorType": code}
        return refused.status, headers, body
    error = f"<Code>{code}</Code><Message>{escape(message)}</Message>"
    if service == "ec2":
        body = (
            f"<Response><Errors><Error>{error}</Error></Errors><RequestID>0</RequestID></Response>"
        )
    else:
        body = (
            f"<ErrorResponse><Error><Type>Sender</Type>{error}</Error>"
            "<RequestId>0</RequestId></ErrorResponse>"
        )
    return refused.status, {"Content-Type": "text/xml"}, body
