"""The one package where the loop meets the adapters and the models."""

from groundlook.service.wiring.parts import Wired, decode_task, encode_region, web_app, wire

__all__ = ["Wired", "decode_task", "encode_region", "web_app", "wire"]
