"""What columns are called in the exports of TikTok Ads Manager and Meta Ads Manager, in nine languages."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Column(StrEnum):
    """What a column holds; the values are shown where one is missing."""

    DAY = "Day"
    AD_ID = "Ad ID"
    AD_NAME = "Ad name"
    AD_GROUP_ID = "Ad group ID"
    AD_GROUP_NAME = "Ad group name"
    CAMPAIGN_ID = "Campaign ID"
    CAMPAIGN_NAME = "Campaign name"
    SPEND = "Cost"
    IMPRESSIONS = "Impressions"
    CLICKS = "Clicks"
    CURRENCY = "Currency"


_NAMES: Final[Mapping[Column, str]] = {
    Column.DAY: """
        day|by day|date|stat time day|reporting starts|giorno|per giorno|data|inizio report|día|por día|
        fecha|inicio del informe|dia|por dia|início dos relatórios|hari|per hari|menurut hari|tanggal|
        awal pelaporan|mulai pelaporan|วัน|ตามวัน|รายวัน|วันที่|การเริ่มรายงาน|ngày|theo ngày|
        lượt bắt đầu báo cáo|bắt đầu báo cáo|日|日付|日別|レポート開始日|レポートの開始日|اليوم|
        حسب اليوم|يوم|التاريخ|بداية التقارير|بداية إعداد التقارير
    """,
    Column.AD_ID: """
        ad id|ad_id|id inserzione|id annuncio|id dell'inserzione|id dell'annuncio|
        identificador del anuncio|id. del anuncio|id del anuncio|id de anuncio|identificação do anúncio|
        id do anúncio|identificador do anúncio|id iklan|ID โฆษณา|รหัสโฆษณา|หมายเลขโฆษณา|id quảng cáo|
        広告id|معرّف الإعلان|معرف الإعلان
    """,
    Column.AD_NAME: """
        ad name|ad_name|nome inserzione|nome dell'inserzione|nome annuncio|nome dell'annuncio|
        nombre del anuncio|nome do anúncio|nama iklan|ชื่อโฆษณา|tên quảng cáo|広告名|広告の名前|
        اسم الإعلان
    """,
    Column.AD_GROUP_ID: """
        ad group id|adgroup id|adgroup_id|ad set id|adset id|id gruppo di inserzioni|
        id gruppo di annunci|id gruppo inserzioni|identificador del conjunto de anuncios|
        id del conjunto de anuncios|id del grupo de anuncios|identificação do conjunto de anúncios|
        id do conjunto de anúncios|id do grupo de anúncios|id set iklan|id grup iklan|ID ชุดโฆษณา|
        ID กลุ่มโฆษณา|รหัสกลุ่มโฆษณา|id nhóm quảng cáo|広告セットid|広告グループid|
        معرّف المجموعة الإعلانية|معرف المجموعة الإعلانية|معرّف مجموعة الإعلانات|معرف مجموعة الإعلانات
    """,
    Column.AD_GROUP_NAME: """
        ad group name|adgroup name|adgroup_name|ad set name|adset name|nome gruppo di inserzioni|
        nome gruppo di annunci|nome del gruppo di inserzioni|nome del gruppo di annunci|
        nombre del conjunto de anuncios|nombre del grupo de anuncios|nome do conjunto de anúncios|
        nome do grupo de anúncios|nama set iklan|nama grup iklan|ชื่อชุดโฆษณา|ชื่อกลุ่มโฆษณา|
        tên nhóm quảng cáo|広告セット名|広告セットの名前|広告グループ名|اسم المجموعة الإعلانية|
        اسم مجموعة الإعلانات
    """,
    Column.CAMPAIGN_ID: """
        campaign id|campaign_id|id campagna|id della campagna|identificador de la campaña|
        id. de la campaña|id de la campaña|id de campaña|identificação da campanha|id da campanha|
        identificador da campanha|id kampanye|ID แคมเปญ|รหัสแคมเปญ|id chiến dịch|キャンペーンid|
        معرّف الحملة|معرف الحملة
    """,
    Column.CAMPAIGN_NAME: """
        campaign name|campaign_name|nome campagna|nome della campagna|nombre de la campaña|
        nome da campanha|nama kampanye|ชื่อแคมเปญ|tên chiến dịch|キャンペーン名|キャンペーンの名前|
        اسم الحملة
    """,
    Column.SPEND: """
        cost|total cost|spend|amount spent|amount_spent|costo|costo totale|spesa|importo speso|coste|
        coste total|costo total|gasto|importe gastado|custo|custo total|valor usado|valor gasto|
        quantia gasta|biaya|total biaya|jumlah yang dibelanjakan|jumlah dibelanjakan|ค่าใช้จ่าย|ต้นทุน|
        จำนวนเงินที่ใช้จ่ายไป|จำนวนเงินที่ใช้ไป|ยอดใช้จ่าย|chi phí|tổng chi phí|số tiền đã chi tiêu|
        số tiền chi tiêu|費用|コスト|合計費用|消化金額|التكلفة|إجمالي التكلفة|المبلغ الذي تم إنفاقه|
        المبلغ المنفق|الإنفاق
    """,
    Column.IMPRESSIONS: """
        impressions|impression|visualizzazioni|impression totali|impresiones|impressões|impresi|
        tayangan|อิมเพรสชั่น|อิมเพรสชัน|การแสดงผล|จำนวนการแสดงผล|lượt hiển thị|số lần hiển thị|
        インプレッション|インプレッション数|表示回数|مرات الظهور|عدد مرات الظهور
    """,
    Column.CLICKS: """
        clicks|clicks all|clicks (all)|clicks (destination)|link clicks|clic|click|clic (tutti)|
        clic sul link|clics|clics (todos)|clics en el enlace|cliques|cliques (todos)|cliques no link|
        klik|klik (semua)|klik tautan|คลิก|จำนวนคลิก|การคลิก|คลิก (ทั้งหมด)|การคลิกลิงก์|lượt nhấp|
        lượt click|số lần nhấp|lượt nhấp vào liên kết|クリック|クリック数|クリック(すべて)|
        リンクのクリック|النقرات|عدد النقرات|النقرات (الكل)|نقرات الرابط|نقرات
    """,
    Column.CURRENCY: """
        currency|valuta|moneda|divisa|moeda|mata uang|สกุลเงิน|tiền tệ|đơn vị tiền tệ|通貨|العملة
    """,
}


def _spelled(names: str) -> list[str]:
    return [" ".join(name.split()).casefold() for name in names.split("|") if name.strip()]


HEADERS: Final[Mapping[str, Column]] = {
    name: column for column, names in _NAMES.items() for name in _spelled(names)
}
"""Columns by their names in small letters.

Source: exports of both Ads Managers, in en, it, es, pt-BR, id, th, vi, ja and ar.
"""
